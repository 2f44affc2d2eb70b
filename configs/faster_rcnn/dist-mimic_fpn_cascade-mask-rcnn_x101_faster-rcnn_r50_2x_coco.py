_base_ = "dist_fpn_cascade-mask-rcnn_x101_faster-rcnn_r50_2x_coco.py"

# on all levels that both necks have
model = dict(distiller=dict(losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0))))
