_base_ = "heads_fpn_gfl_r101_gfl_r50_2x_coco.py"

model = dict(recipe="pcka-positions", distiller=dict(losses=dict(pcka=dict(strides=(8, 16, 32, 64)))))
