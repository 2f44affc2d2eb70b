_base_ = "pcka_fpn_reppoints_x101-dcn_reppoints_r50_2x_coco.py"

model = dict(recipe="pcka-mimic")
