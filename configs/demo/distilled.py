# The demo's student, distilled: the same data, schedule, seed and initial weights.
_base_ = "student.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="{{fileDirname}}/teacher.py"),
    teacher_ckpt="work_dirs/demo/teacher/epoch_24.pth",
    distiller=dict(
        type="pcka_mmdet.FPNDistiller",
        losses=dict(
            pcka=dict(type="pcka_mmdet.PCKALoss", loss_weight=10.0, patch_size={8: 2, 16: 1, 32: 1, 64: 1}),
            mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0),
        ),
    ),
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
