# CIFAR-100 with the schedule of the usual benchmark: 240 epochs of SGD, batches of 128 images, learning rate 0.1.
# MMPretrain fetches the data into data/cifar100.
_base_ = "runtime.py"

data_root = "data/cifar100"

model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        type="ClsDataPreprocessor",
        num_classes=100,
        mean=[129.3, 124.1, 112.4],
        std=[68.2, 65.4, 70.4],
        to_rgb=False,  # the data set's images are RGB
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=100, loss=dict(type="CrossEntropyLoss", loss_weight=1.0)),
)

train_pipeline = [
    dict(type="RandomCrop", crop_size=32, padding=4),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="CIFAR100", data_root=data_root, split="train", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CIFAR100", data_root=data_root, split="test", pipeline=[dict(type="PackInputs")]),
)
test_dataloader = val_dataloader

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=240, val_interval=5)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(type="MultiStepLR", milestones=[150, 180, 210], gamma=0.1, by_epoch=True)
