_base_ = "pcka_fpn_faster-rcnn_r101_faster-rcnn_r50_2x_coco.py"

model = dict(recipe="pcka-mimic-positions")
