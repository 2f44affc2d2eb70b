# The demo's student, distilled by PCKA and mimic with constant weights and two hooks, for the tests of whole trainings.
_base_ = "../../configs/demo/student.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="{{fileDirname}}/../../configs/demo/teacher.py"),
    teacher_ckpt="work_dirs/demo/teacher/epoch_20.pth",
    distiller=dict(
        type="pcka_mmdet.FPNDistiller",
        losses=dict(
            pcka=dict(type="pcka_mmdet.PCKALoss", loss_weight=10.0, patch_size={8: 2, 16: 1, 32: 1, 64: 1}),
            mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0),
        ),
    ),
)
custom_hooks = [
    dict(type="mmrazor.StopDistillHook", stop_epoch=8),
    dict(type="pcka_mmdet.LossScheduleHook", every=1),
]
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
