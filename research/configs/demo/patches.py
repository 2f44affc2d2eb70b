# With patches: the demo's student, distilled by PCKA alone, for the pictures of docs/analysis.md. It is validated after
# each epoch. whole_maps.py is without patches.
_base_ = "../../../configs/demo/distilled.py"

model = dict(
    recipe=None,
    distiller=dict(
        type="pcka_mmdet.FPNDistiller",
        losses=dict(
            pcka=dict(type="pcka_mmdet.PCKALoss", patch_size={8: 2, 16: 1}, centering="center", strides=(8, 16))
        ),
    ),
    balance=dict(ratio=1.0),
    teacher_precision="fp32",
)
train_cfg = dict(val_interval=1)
