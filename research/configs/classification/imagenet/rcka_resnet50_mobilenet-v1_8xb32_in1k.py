_base_ = "mobilenet-v1_8xb32_in1k.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture=dict(cfg_path="{{fileDirname}}/mobilenet-v1_8xb32_in1k.py"),
    teacher=dict(cfg_path="mmpretrain::resnet/resnet50_8xb32_in1k.py"),
    teacher_ckpt="https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth",
    recipe="rcka",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
