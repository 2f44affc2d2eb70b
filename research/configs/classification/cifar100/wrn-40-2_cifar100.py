_base_ = "../_base_/cifar100.py"

model = dict(backbone=dict(type="pcka_mmdet.CifarWideResNet", depth=40, factor=2), head=dict(in_channels=128))
