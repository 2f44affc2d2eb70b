# The student on DeepPCB, distilled: the same data, schedule, seed and initial weights.
_base_ = "student.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="{{fileDirname}}/teacher.py"),
    teacher_ckpt="work_dirs/deeppcb/teacher/epoch_20.pth",
    recipe="both-heads",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
