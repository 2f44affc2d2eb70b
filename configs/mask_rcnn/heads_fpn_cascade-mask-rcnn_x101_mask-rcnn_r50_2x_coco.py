_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="mmdet::cascade_rcnn/cascade-mask-rcnn_x101-64x4d_fpn_20e_coco.py"),
    teacher_ckpt="https://download.openmmlab.com/mmdetection/v2.0/cascade_rcnn/cascade_mask_rcnn_x101_64x4d_fpn_20e_coco/"
    "cascade_mask_rcnn_x101_64x4d_fpn_20e_coco_20200512_161033-bdb5126a.pth",
    recipe="both-heads",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
