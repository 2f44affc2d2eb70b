# DeepPCB (800 / 200 / 500 photographs of circuit boards), and a thin RetinaNet trained alone.
_base_ = ["../../../configs/_base_/models/thin_retinanet.py", "../../../configs/_base_/cpu_training.py"]

data_root = "data/deeppcb/"
classes = ("open", "short", "mousebite", "spur", "copper", "pin-hole")

model = dict(
    backbone=dict(stem_channels=8),
    bbox_head=dict(
        num_classes=len(classes),
        feat_channels=32,
        # at 256x256 half of the boxes are 12 to 16 pixels wide and high, and 2 % are above 32
        anchor_generator=dict(octave_base_scale=1.6, ratios=[0.75, 1.33]),
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(256, 256)),
    # a board has no up
    dict(type="RandomFlip", prob=[0.25, 0.25, 0.25], direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(256, 256)),
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

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
param_scheduler = [
    dict(type="OneCycleLR", eta_max=3e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
default_hooks = dict(logger=dict(interval=25))
log_processor = dict(window_size=25)
