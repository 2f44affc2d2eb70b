"""Both pictures are drawn, and from the right values."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pcka_mmdet.report import theme
from pcka_mmdet.report.curves import (
    loss_curve,
    mean_similarity,
    plot_similarity,
    precision_curve,
    similarity_curves,
    smooth,
)
from pcka_mmdet.report.gallery import evenly_spaced, plot_gallery
from pcka_mmdet.report.predictions import Boxes

STUDENT = [
    {"loss": 3.0, "loss_cls": 1.0, "loss_bbox": 2.0, "time": 0.1, "iter": 5, "step": 5},
    {"coco/bbox_mAP": 0.25, "step": 1},
]
DISTILLED = [
    {
        **{"loss": 9.0, "student.loss_cls": 1.5, "student.loss_bbox": 2.0, "time": 0.1, "iter": 5, "step": 5},
        **{"distill.loss_pcka": 5.5, "distill.loss_pcka_s8": 5.5, "similarity.cka_s16": 0.4, "similarity.cka_s8": 0.5},
    },
    {"coco/bbox_mAP": 0.5, "step": 1},
]


def test_curves_compare_the_detectors_own_losses():
    assert loss_curve(STUDENT, iterations=10) == ([0.5], [3.0])
    assert loss_curve(DISTILLED, iterations=10) == ([0.5], [3.5])
    assert precision_curve(DISTILLED) == ([1], [0.5])
    for prefix in ("", "student."):  # of Cascade R-CNN, and of a decoder's layers
        stages = {f"{prefix}{name}": 0.5 for name in ("loss_rpn_cls", "s0.loss_cls", "s1.loss_bbox", "d0.loss_cls")}
        assert loss_curve([stages | {"iter": 10, "distill.loss_head": 9.0, "loss": 11.0}], 10) == ([1.0], [2.0])
    others = {"enc_loss_cls": 1.0, "d0.dn_loss_iou": 2.0, "det_loss": 4.0, "distill.loss_head": 9.0, "loss": 16.0}
    assert loss_curve([others | {"iter": 10}], 10) == ([1.0], [7.0])  # of DINO and CornerNet


def test_similarity_by_stride():
    assert similarity_curves(DISTILLED, iterations=10) == {8: ([0.5], [0.5]), 16: ([0.5], [0.4])}
    assert similarity_curves(STUDENT, iterations=10) == {}


def test_the_mean_similarity_over_levels(tmp_path):
    assert mean_similarity(DISTILLED, iterations=10) == ([0.5], [pytest.approx(0.45)])
    assert mean_similarity(STUDENT, iterations=10) is None
    samples = [{"similarity.rcka_s8": 0.3, "similarity.pcka_second_s8": 0.5, "time": 0.1, "iter": 10, "step": 10}]
    assert mean_similarity(samples, iterations=10) == ([1.0], [pytest.approx(0.4)])
    logs = {"patches": DISTILLED, "whole maps": samples, "student": STUDENT}
    plot_similarity(logs, dict.fromkeys(logs, 10), tmp_path / "similarity.png")
    assert (tmp_path / "similarity.png").stat().st_size > 1000


def test_the_similarity_ends_where_the_distillation_stops():
    stopped = [*DISTILLED, *({**DISTILLED[0], "iter": iteration} for iteration in (10, 15))]
    assert similarity_curves(stopped, iterations=10)[8] == ([0.5], [0.5])


def test_smoothing_keeps_length_and_mean_level():
    xs, ys = smooth((list(range(100)), [1.0, 3.0] * 50))
    assert len(xs) == len(ys) == 100
    assert ys[50] == pytest.approx(2.0, abs=0.4)
    assert smooth(([1, 2], [5.0, 7.0])) == ([1, 2], [5.0, 7.0])


def test_detections_are_drawn(tmp_path, figures):
    """Those of a wrong class or place are dashed."""
    cv2.imwrite(str(tmp_path / "1.png"), np.full((32, 48, 3), 128, np.uint8))

    def run(label):
        box = dict(bboxes=np.array([[4.0, 4, 20, 20]]), labels=np.array([label]), scores=np.array([0.75]))
        found = dict(img_id=1, pred_instances=box)
        return SimpleNamespace(
            truth={1: Boxes([[4, 4, 20, 20]], [1])},
            detections=[found],
            detections_by_image={1: found},
            classes=("a", "b"),
            picture=lambda image: tmp_path / f"{image}.png",
        )

    plot_gallery({"student": run(0), "distilled": run(1)}, tmp_path / "detections.png")
    (figure,) = figures
    shown = {a.get_title(): [(p.get_linestyle() == "-", p.get_bbox().bounds) for p in a.patches] for a in figure.axes}
    place = (3.5, 3.5, 16, 16)
    assert shown == {"ground truth": [(True, place)], "student": [(False, place)], "distilled": [(True, place)]}
    picture = cv2.imread(str(tmp_path / "detections.png"))[..., ::-1]
    red, green, blue = (int(theme.class_colour(1)[i : i + 2], 16) for i in (1, 3, 5))
    assert (picture == (red, green, blue)).all(axis=-1).any(), "no box in its class's colour"


def test_images_are_spread_evenly():
    assert evenly_spaced(250, 3) == [41, 125, 208]
    assert evenly_spaced(2, 3) == [0, 1]
