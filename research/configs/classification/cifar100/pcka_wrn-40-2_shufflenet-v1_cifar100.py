_base_ = "shufflenet-v1_cifar100.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    # its second stage has the stride of the teacher's last one, 4
    architecture=dict(cfg_path="{{fileDirname}}/shufflenet-v1_cifar100.py", backbone=dict(out_indices=(1, 2))),
    teacher=dict(cfg_path="{{fileDirname}}/wrn-40-2_cifar100.py"),
    teacher_ckpt="work_dirs/wrn-40-2_cifar100/epoch_240.pth",
    recipe="pcka-stage",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
