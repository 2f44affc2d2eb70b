_base_ = "../_base_/cifar100.py"

model = dict(backbone=dict(type="pcka_mmdet.CifarResNet", depth=110), head=dict(in_channels=64))
