# A small ResNet on 50 labelled digits, five of each class.
_base_ = "../_base_/runtime.py"

data_root = "data/digit_images/"

model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(type="ClsDataPreprocessor", num_classes=10, mean=[80.0] * 3, std=[100.0] * 3),
    backbone=dict(type="pcka_mmdet.CifarResNet", depth=8),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=64, loss=dict(type="CrossEntropyLoss")),
)

dataset = dict(
    type="CustomDataset",
    data_root=data_root,
    data_prefix="images",
    classes=list("0123456789"),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomCrop", crop_size=32, padding=4),
    dict(type="PackInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
train_dataloader = dict(
    batch_size=25,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(**dataset, ann_file="few.txt", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**dataset, ann_file="val.txt", pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**dataset, ann_file="test.txt", pipeline=test_pipeline),
)
del dataset

max_epochs = 60
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=20)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=3e-3, weight_decay=1e-2))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=3e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
default_hooks = dict(logger=dict(interval=10))
env_cfg = dict(dist_cfg=dict(backend="gloo"))
randomness = dict(seed=0)
