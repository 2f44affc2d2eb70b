_base_ = "pcka_fpn_cascade-mask-rcnn_x101_mask-rcnn_r50_2x_coco.py"

model = dict(recipe="pcka-mimic-positions")
