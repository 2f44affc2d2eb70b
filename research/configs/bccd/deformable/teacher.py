# The teacher of the thin Deformable DETR: MobileNetV2 from its ImageNet weights, more layers in encoder and decoder.
_base_ = "student.py"

max_epochs = 80
learning_rate = 1e-3  # pretrained weights need smaller steps

model = dict(
    backbone=dict(
        _delete_=True,
        type="MobileNetV2",
        out_indices=(2, 4, 6),
        frozen_stages=2,
        # downloaded by MMEngine; or a file: --cfg-options model.backbone.init_cfg.checkpoint=FILE
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://mmdet/mobilenet_v2"),
    ),
    neck=dict(in_channels=[32, 96, 320]),
    encoder=dict(num_layers=2),
    decoder=dict(num_layers=3),
)
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=learning_rate))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=learning_rate, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
