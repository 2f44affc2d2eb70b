# Two teachers one after another, the weaker one first: Swin-T in the first half of the training, Swin-S in the second.
_base_ = "heads_fpn_cascade-mask-rcnn_x101_mask-rcnn_r50_2x_coco.py"

configs = "mmdet::swin/mask-rcnn_swin-{}-p4-w7_fpn_amp-ms-crop-3x_coco.py"
files = "https://download.openmmlab.com/mmdetection/v2.0/swin/{0}/{0}_{1}.pth"
names = "mask_rcnn_swin-t-p4-w7_fpn_fp16_ms-crop-3x_coco", "mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco"
swin_t = dict(cfg_path=configs.format("t"), ckpt=files.format(names[0], "20210908_165006-90a4008c"), until=0.5)
swin_s = dict(cfg_path=configs.format("s"), ckpt=files.format(names[1], "20210903_104808-b92c91f1"))
model = dict(teacher=None, teacher_ckpt=None, teachers=[swin_t, swin_s])
del configs, files, names, swin_t, swin_s
