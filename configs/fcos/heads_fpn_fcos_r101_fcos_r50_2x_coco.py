_base_ = "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="mmdet::fcos/fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py"),
    teacher_ckpt="https://download.openmmlab.com/mmdetection/v2.0/fcos/fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/"
    "fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424d6.pth",
    recipe="both-heads",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
