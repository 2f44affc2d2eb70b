_base_ = "pcka_fpn_retinanet_r101_retinanet_r50_2x_coco.py"

# on all levels that both necks have, as DIST has it
model = dict(distiller=dict(losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0))))
