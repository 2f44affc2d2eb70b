# Two teachers one after another, the weaker one first: R101 in the first half of the training, X101 in the second.
_base_ = "pcka-plus_fpn_retinanet_x101_retinanet_r50_2x_coco.py"

checkpoints = "https://download.openmmlab.com/mmdetection/v2.0/retinanet/"

model = dict(
    teacher=None,
    teacher_ckpt=None,
    teachers=[
        dict(
            cfg_path="mmdet::retinanet/retinanet_r101_fpn_2x_coco.py",
            ckpt=checkpoints + "retinanet_r101_fpn_2x_coco/retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth",
            until=0.5,
        ),
        dict(
            cfg_path="mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py",
            ckpt=checkpoints
            + "retinanet_x101_64x4d_fpn_1x_coco/retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth",
        ),
    ],
)
