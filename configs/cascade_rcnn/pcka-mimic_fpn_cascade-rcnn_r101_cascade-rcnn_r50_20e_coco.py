_base_ = "pcka_fpn_cascade-rcnn_r101_cascade-rcnn_r50_20e_coco.py"

model = dict(recipe="pcka-mimic-positions")
