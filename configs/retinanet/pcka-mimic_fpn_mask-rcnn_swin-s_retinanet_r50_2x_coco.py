_base_ = "pcka_fpn_mask-rcnn_swin-s_retinanet_r50_2x_coco.py"

model = dict(recipe="pcka-mimic")
