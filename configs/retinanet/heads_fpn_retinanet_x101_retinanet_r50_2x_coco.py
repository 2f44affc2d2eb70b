_base_ = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py"),
    teacher_ckpt="https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_1x_coco/"
    "retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth",
    recipe="both-heads",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
