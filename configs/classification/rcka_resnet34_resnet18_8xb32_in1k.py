_base_ = "mmpretrain::resnet/resnet18_8xb32_in1k.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture=dict(cfg_path="mmpretrain::resnet/resnet18_8xb32_in1k.py"),
    teacher=dict(cfg_path="mmpretrain::resnet/resnet34_8xb32_in1k.py"),
    teacher_ckpt="https://download.openmmlab.com/mmclassification/v0/resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth",
    recipe="rcka",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
