# The demo's student, distilled by PCKA and mimic with constant weights and two hooks, for the tests of whole trainings.
_base_ = "../../configs/demo/distilled.py"

model = dict(
    recipe=None,
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
