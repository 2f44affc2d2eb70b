_base_ = "student.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="{{fileDirname}}/teacher.py"),
    teacher_ckpt="work_dirs/demo_cls/teacher/epoch_10.pth",
    recipe="dist",
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
