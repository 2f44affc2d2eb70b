# The teacher of the student from ImageNet weights: the whole MobileNetV2, a deeper head, more epochs.
_base_ = "../teacher.py"

max_epochs = 40
learning_rate = 3e-3

model = dict(backbone=dict(frozen_stages=0))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=learning_rate, weight_decay=0.3))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=learning_rate, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
