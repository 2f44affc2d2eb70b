_base_ = "../_base_/cifar100.py"

model = dict(backbone=dict(type="pcka_mmdet.CifarMobileNetV2", width=0.5), head=dict(in_channels=1280))
