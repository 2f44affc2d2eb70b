# The small pair's teacher at 512x384, twice the student's width and height, with a level for each of the student's.
_base_ = "../small/teacher.py"

model = dict(
    neck=dict(num_outs=5),
    bbox_head=dict(num_ins=5, anchor_generator=dict(strides=[8, 16, 32, 64, 128])),
)

scale = (512, 384)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=scale),
            dict(type="PhotoMetricDistortion"),
            dict(type="RandomFlip", prob=[0.25, 0.25, 0.25], direction=["horizontal", "vertical", "diagonal"]),
            dict(type="PackDetInputs"),
        ]
    )
)
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=scale),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
