# The student on BCCD, distilled: the same data, schedule, seed and initial weights.
_base_ = "student.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="{{fileDirname}}/teacher.py"),
    teacher_ckpt="work_dirs/bccd/teacher/epoch_20.pth",
    distiller=dict(
        type="pcka_mmdet.FPNDistiller",
        losses=dict(
            # maps of 40x32, 20x16, 10x8 and 5x4 positions: 80, 80, 80 and 20 patches
            pcka=dict(type="pcka_mmdet.PCKALoss", loss_weight=10.0, patch_size={8: 4, 16: 2, 32: 1, 64: 1}),
            mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0),
        ),
    ),
)
# as in the demo, the second half of the schedule trains on the task alone
custom_hooks = [dict(type="mmrazor.StopDistillHook", stop_epoch=15)]
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
