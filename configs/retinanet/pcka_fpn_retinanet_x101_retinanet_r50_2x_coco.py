_base_ = "heads_fpn_retinanet_x101_retinanet_r50_2x_coco.py"

model = dict(recipe="pcka", distiller=dict(losses=dict(pcka=dict(strides=(8, 16, 32, 64)))))
