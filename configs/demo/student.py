# The demo: digit scenes, and a RetinaNet of about 76 million multiply-adds that trains without a teacher.
_base_ = ["../_base_/models/thin_retinanet.py", "../_base_/cpu_training.py"]

data_root = "data/digit_scenes/"
classes = tuple("0123456789")

model = dict(
    bbox_head=dict(
        num_classes=len(classes),
        # digits are 14 to 56 pixels high and about 0.7 as wide
        anchor_generator=dict(ratios=[1.0, 1.6]),
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PhotoMetricDistortion"),
    dict(type="RandomShift", prob=0.5, max_shift_px=16),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(128, 128)),  # does not change the size; records the scale factor that prediction needs
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
        ann_file="annotations/train.json",
        data_prefix=dict(img="train/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file="annotations/val.json",
        data_prefix=dict(img="val/"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file="annotations/test.json",
        data_prefix=dict(img="test/"),
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(ann_file=data_root + "annotations/val.json")
test_evaluator = dict(ann_file=data_root + "annotations/test.json")
