_base_ = "pcka_fpn_retinanet_x101_retinanet_r50_2x_coco.py"

model = dict(recipe="pcka-mimic")
