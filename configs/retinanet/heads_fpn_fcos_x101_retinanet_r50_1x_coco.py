_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="mmdet::fcos/fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco.py"),
    teacher_ckpt="https://download.openmmlab.com/mmdetection/v2.0/fcos/fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco/"
    "fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco-ede514a8.pth",
    recipe="predictions",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
