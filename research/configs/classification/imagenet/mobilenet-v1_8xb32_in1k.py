_base_ = "mmpretrain::resnet/resnet18_8xb32_in1k.py"

custom_imports = dict(imports=["research.classification.backbones"])

model = dict(
    backbone=dict(_delete_=True, type="pcka_mmdet.MobileNetV1"),
    head=dict(in_channels=1024),
)
