_base_ = "pcka_fpn_gfl_r101_gfl_r50_2x_coco.py"

model = dict(recipe="pcka-mimic-positions")
