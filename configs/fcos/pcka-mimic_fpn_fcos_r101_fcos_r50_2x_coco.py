_base_ = "pcka_fpn_fcos_r101_fcos_r50_2x_coco.py"

model = dict(recipe="pcka-mimic")
