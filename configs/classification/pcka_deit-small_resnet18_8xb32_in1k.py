_base_ = "mmpretrain::resnet/resnet18_8xb32_in1k.py"

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture=dict(cfg_path="mmpretrain::resnet/resnet18_8xb32_in1k.py", backbone=dict(out_indices=(2, 3))),
    teacher=dict(cfg_path="mmpretrain::deit/deit-small_4xb256_in1k.py", backbone=dict(out_type="featmap")),
    teacher_ckpt="https://download.openmmlab.com/mmclassification/v0/deit/deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth",
    recipe="pcka-stage",
    distiller=dict(losses=dict(pcka=dict(average="batch"))),  # needs no equal channels
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
