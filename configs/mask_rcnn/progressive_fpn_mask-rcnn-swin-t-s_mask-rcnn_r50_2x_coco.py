# Two teachers one after another, the weaker one first: Swin-T in the first half of the training, Swin-S in the second.
_base_ = "pcka-plus_fpn_cascade-mask-rcnn_x101_mask-rcnn_r50_2x_coco.py"

checkpoints = "https://download.openmmlab.com/mmdetection/v2.0/swin/"

model = dict(
    teacher=None,
    teacher_ckpt=None,
    teachers=[
        dict(
            cfg_path="mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_amp-ms-crop-3x_coco.py",
            ckpt=checkpoints + "mask_rcnn_swin-t-p4-w7_fpn_fp16_ms-crop-3x_coco/"
            "mask_rcnn_swin-t-p4-w7_fpn_fp16_ms-crop-3x_coco_20210908_165006-90a4008c.pth",
            until=0.5,
        ),
        dict(
            cfg_path="mmdet::swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py",
            ckpt=checkpoints + "mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco/"
            "mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco_20210903_104808-b92c91f1.pth",
        ),
    ],
)
