# Two teachers one after another, the weaker one first: R101 in the first half of the training, X101 in the second.
_base_ = "heads_fpn_retinanet_x101_retinanet_r50_2x_coco.py"

r101 = dict(
    cfg_path="mmdet::retinanet/retinanet_r101_fpn_2x_coco.py",
    ckpt="https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/"
    "retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth",
    until=0.5,
)
x101 = dict(cfg_path={{_base_.model.teacher.cfg_path}}, ckpt={{_base_.model.teacher_ckpt}})
model = dict(teacher=None, teacher_ckpt=None, teachers=[r101, x101])
del r101, x101
