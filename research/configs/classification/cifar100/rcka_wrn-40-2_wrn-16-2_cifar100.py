_base_ = "wrn-16-2_cifar100.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="{{fileDirname}}/wrn-40-2_cifar100.py"),
    teacher_ckpt="work_dirs/wrn-40-2_cifar100/epoch_240.pth",
    recipe="rcka",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
