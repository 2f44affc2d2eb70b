_base_ = "pcka_fpn_cascade-rcnn_r101_cascade-rcnn_r50_20e_coco.py"

# on all levels that both necks have, as DIST has it
model = dict(distiller=dict(losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0))))
