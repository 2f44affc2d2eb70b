# With patches: the demo's student, distilled by PCKA alone, for the pictures of docs/analysis.md. It is validated after
# each epoch. whole_maps.py is without patches.
_base_ = "student.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="{{fileDirname}}/teacher.py"),
    teacher_ckpt="work_dirs/demo/teacher/epoch_20.pth",
    distiller=dict(
        type="pcka_mmdet.FPNDistiller",
        losses=dict(
            pcka=dict(type="pcka_mmdet.PCKALoss", patch_size={8: 2, 16: 1}, centering="center", strides=(8, 16))
        ),
    ),
    balance=dict(ratio=1.0),
)
train_cfg = dict(val_interval=1)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
