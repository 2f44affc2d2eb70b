_base_ = "heads_fpn_cascade-rcnn_r101_cascade-rcnn_r50_20e_coco.py"

model = dict(recipe="pcka-positions", distiller=dict(losses=dict(pcka=dict(strides=(4, 8, 16, 32)))))
