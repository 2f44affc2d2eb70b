_base_ = "heads_fpn_cascade-mask-rcnn_x101_faster-rcnn_r50_2x_coco.py"

# DIST on the class logits; the paper's weights are not known, these are MMRazor's
model = dict(
    recipe=None,
    distiller=dict(
        type="pcka_mmdet.FPNDistiller", losses=dict(dist=dict(type="mmrazor.DISTLoss", source="roi_head", tau=1.0))
    ),
)
