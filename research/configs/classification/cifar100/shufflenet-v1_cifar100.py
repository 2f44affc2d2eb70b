_base_ = "../_base_/cifar100.py"

model = dict(backbone=dict(type="pcka_mmdet.CifarShuffleNetV1"), head=dict(in_channels=960))
