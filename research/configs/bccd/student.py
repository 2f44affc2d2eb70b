# BCCD (205 / 87 / 72 photographs of blood cells), and a thin RetinaNet that trains without a teacher.
_base_ = ["../../../configs/_base_/models/thin_retinanet.py", "../../../configs/_base_/cpu_training.py"]

data_root = "data/bccd/"
classes = ("RBC", "WBC", "Platelets")

model = dict(
    backbone=dict(stem_channels=8),
    bbox_head=dict(
        num_classes=len(classes),
        feat_channels=32,
        # at 320x240 the median box is about 19 pixels wide and high (platelets), 51 (red cells) or 94 (white cells);
        # a box of each class has 4 to 5 anchors with an IoU of 0.5 or more
        anchor_generator=dict(ratios=[0.75, 1.33]),
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(320, 240)),  # half the side of the photographs
    dict(type="PhotoMetricDistortion"),
    # microscope images have no preferred orientation
    dict(type="RandomFlip", prob=[0.25, 0.25, 0.25], direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(320, 240)),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file="train.json",
        data_prefix=dict(img="images/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file="val.json",
        data_prefix=dict(img="images/"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=8,
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file="test.json",
        data_prefix=dict(img="images/"),
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(ann_file=data_root + "val.json")
test_evaluator = dict(ann_file=data_root + "test.json")

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(type="OneCycleLR", eta_max=3e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
default_hooks = dict(logger=dict(interval=13))  # twice per epoch
log_processor = dict(window_size=13)
