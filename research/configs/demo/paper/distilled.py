# The demo's student, distilled by the recipe of the paper: PCKA and mimic with constant weights. All three:
# tools/demo.py --config-dir research/configs/demo/paper --work-dir work_dirs/paper
_base_ = "../../../../configs/demo/distilled.py"

model = dict(
    recipe=None,
    distiller=dict(
        type="pcka_mmdet.FPNDistiller",
        losses=dict(
            # 64 patches at each of the two finest levels, 16 and 4 at the others
            pcka=dict(type="pcka_mmdet.PCKALoss", loss_weight=10.0, patch_size={8: 2, 16: 1, 32: 1, 64: 1}),
            mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0),
        ),
    ),
)
# The second half of the schedule trains on the task alone: better on the val split, and cheaper.
custom_hooks = [
    dict(type="mmrazor.StopDistillHook", stop_epoch=8),
    dict(type="pcka_mmdet.LossScheduleHook", every=1),  # every k-th iteration: --cfg-options custom_hooks.1.every=k
]
