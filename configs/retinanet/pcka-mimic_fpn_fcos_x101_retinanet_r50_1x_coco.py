_base_ = "pcka_fpn_fcos_x101_retinanet_r50_1x_coco.py"

model = dict(recipe="pcka-mimic")
