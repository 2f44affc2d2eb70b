# The teacher at 512x512, twice the student's size, with a level for each of the student's.
_base_ = ["../teacher.py"]

model = dict(
    neck=dict(num_outs=5),
    bbox_head=dict(num_ins=5, anchor_generator=dict(strides=[8, 16, 32, 64, 128])),
)

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (512, 512)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
