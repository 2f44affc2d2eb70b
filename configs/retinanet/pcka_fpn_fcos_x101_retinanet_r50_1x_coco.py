_base_ = "heads_fpn_fcos_x101_retinanet_r50_1x_coco.py"

model = dict(recipe="pcka", distiller=dict(losses=dict(pcka=dict(strides=(8, 16, 32, 64)))))
