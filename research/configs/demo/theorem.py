# For docs/theory.md: the demo's student, distilled by uncentred PCKA. MMD is beside it for the log: its value is below
# 1e-5 of PCKA's.
_base_ = "../../../configs/demo/distilled.py"

model = dict(
    recipe=None,
    distiller=dict(
        type="pcka_mmdet.FPNDistiller",
        losses=dict(
            pcka=dict(type="pcka_mmdet.PCKALoss", patch_size={8: 2, 16: 1}, centering="none", strides=(8, 16)),
            mmd=dict(type="pcka_mmdet.MMDLoss", patch_size={8: 2, 16: 1}, strides=(8, 16)),
        ),
    ),
)
