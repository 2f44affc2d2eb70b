_base_ = "heads_fpn_faster-rcnn_r101_faster-rcnn_r50_2x_coco.py"

model = dict(recipe="pcka-positions", distiller=dict(losses=dict(pcka=dict(strides=(4, 8, 16, 32)))))
