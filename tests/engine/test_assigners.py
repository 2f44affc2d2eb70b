"""Which assigners of MMDetection ignore anchors in ignored boxes, as `extra_images.IGNORING` has it."""

import inspect

import pytest
import torch
from mmdet.models.task_modules import assigners
from mmdet.models.task_modules.assigners import BaseAssigner
from mmengine.structures import InstanceData

from pcka_mmdet.engine.extra_images import IGNORE_FROM, IGNORING, IGNORING_BY_SHARE

PRIORS = torch.tensor([[0.0, 0, 16, 16], [16, 0, 32, 16], [32, 0, 48, 16], [48, 0, 64, 16]])
OBJECT, UNSURE = torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[48.0, 0, 64, 16]])

OPTIONS = {
    "MaxIoUAssigner": dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    "ATSSAssigner": dict(topk=1),
    "PointAssigner": dict(scale=1, pos_num=1),
    "TaskAlignedAssigner": dict(topk=1),
    "SimOTAAssigner": {},
    "DynamicSoftLabelAssigner": dict(topk=1),
    "CenterRegionAssigner": dict(pos_scale=0.2, neg_scale=0.2),
    "UniformAssigner": dict(pos_ignore_thr=0.1, neg_ignore_thr=0.9, match_times=1),
}

OTHERS = {
    "ApproxMaxIoUAssigner": "of GuidedAnchoring, by the code of MaxIoUAssigner",
    "GridAssigner": "of YOLOv3, whose argument for ignored boxes nothing reads",
    "HungarianAssigner": "of DETR, which matches queries with objects and knows no ignored boxes",
    "TopkHungarianAssigner": "likewise",
    "MultiInstanceAssigner": "of CrowdDet: not tried",
    "RegionAssigner": "of Cascade RPN, refuses ignored boxes",
}


def assign(name: str, ignored: torch.Tensor) -> torch.Tensor:
    """The objects of the four priors, from 1; 0 is background, -1 is ignored."""
    kind = getattr(assigners, name)
    options = dict(OPTIONS[name])
    assert (name in IGNORING_BY_SHARE) <= ("ignore_iof_thr" in inspect.signature(kind.__init__).parameters)
    if "ignore_iof_thr" in inspect.signature(kind.__init__).parameters:
        options["ignore_iof_thr"] = IGNORE_FROM
    priors, scores = PRIORS, torch.full((4, 1), 0.5)
    if name in ("PointAssigner", "SimOTAAssigner", "DynamicSoftLabelAssigner"):
        centres = (PRIORS[:, :2] + PRIORS[:, 2:]) / 2
        priors = torch.cat([centres, torch.full((4, 1 if name == "PointAssigner" else 2), 16.0)], dim=1)
    predictions = InstanceData(priors=priors, bboxes=PRIORS.clone(), scores=scores, decoder_priors=PRIORS)
    objects = InstanceData(bboxes=OBJECT, labels=torch.zeros(1, dtype=torch.long))
    sides = [predictions, objects]
    if name == "ATSSAssigner":
        sides.insert(1, [4])  # priors by level
    return kind(**options).assign(*sides, gt_instances_ignore=InstanceData(bboxes=ignored)).gt_inds


@pytest.mark.parametrize("name", OPTIONS)
def test_an_assigner_is_on_the_list_if_it_ignores(name):
    without, ignoring = assign(name, torch.zeros(0, 4)), assign(name, UNSURE)
    if name in IGNORING:
        assert (without[3], ignoring[3]) == (0, -1) and torch.equal(without[:3], ignoring[:3])
    else:
        assert torch.equal(without, ignoring)


def test_every_assigner_is_known():
    kinds = {name for name, kind in vars(assigners).items() if inspect.isclass(kind) and issubclass(kind, BaseAssigner)}
    assert kinds - {"BaseAssigner"} == {*OPTIONS, *OTHERS}
    assert set(IGNORING) <= {*OPTIONS, *OTHERS}
