# A larger ResNet on all 1,078 digits for training.
_base_ = "student.py"

max_epochs = 10
model = dict(backbone=dict(depth=20))
train_dataloader = dict(batch_size=50, dataset=dict(ann_file="train.txt"))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type="OneCycleLR", eta_max=3e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
