"""The figures are MMEngine's, and a distillation's are its student's."""

import torch
from mmengine.analysis import get_model_complexity_info

from pcka_mmdet.configuration.complexity import complexity
from pcka_mmdet.configuration.detector import model_config
from tests.detectors import build, distillation, retinanet


def test_as_mmengine_counts():
    inputs = torch.zeros(1, 3, 64, 96)
    expected = get_model_complexity_info(build(retinanet()).eval(), inputs=inputs, show_table=False, show_arch=False)
    assert complexity(retinanet(), 64, 96) == {"parameters": expected["params"], "flops": expected["flops"]}


def test_of_a_head_that_reads_the_annotations():
    model = model_config("mmdet::condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py")
    model.backbone.init_cfg = None
    assert complexity(model, 64, 64)["flops"] > 0


def test_of_a_distillation_the_student_counts():
    assert complexity(distillation(), 64, 64) == complexity(retinanet(), 64, 64)
