_base_ = "dist_fpn_cascade-mask-rcnn_x101_faster-rcnn_r50_2x_coco.py"

# RCKA on the class logits of the proposals that the teacher takes for an object, and over the classes. The weights are
# ours: gradients at a RoI head cannot be balanced.
rcka = dict(type="pcka_mmdet.RCKALoss", source="roi_head", loss_weight=1.0, class_weight=1.0, gather=True)
model = dict(distiller=dict(losses=dict(_delete_=True, rcka=rcka)))
del rcka
