"""Curves along trainings."""

import pytest
from matplotlib.figure import Figure

from pcka_mmdet.report.curves import along, draw, loss_curve, precision_curve, similarity_curve, smooth

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
    logged = {"enc_loss_cls": 1.0, "d0.dn_loss_iou": 2.0, "det_loss": 4.0, "distill.loss_head": 9.0, "loss": 16.0}
    assert loss_curve([logged | {"iter": 10}], 10) == ([1.0], [7.0])  # of DINO and CornerNet


def test_the_mean_similarity_over_levels():
    assert similarity_curve(DISTILLED, iterations=10) == ([0.5], [pytest.approx(0.45)])
    assert similarity_curve(STUDENT, iterations=10) == ([], [])
    samples = [{"similarity.rcka_s8": 0.3, "similarity.pcka_second_s8": 0.5, "time": 0.1, "iter": 10, "step": 10}]
    assert similarity_curve(samples, iterations=10) == ([1.0], [pytest.approx(0.4)])


def test_the_similarity_ends_where_the_distillation_stops():
    stopped = [*DISTILLED, *({**DISTILLED[0], "iter": iteration} for iteration in (10, 15))]
    assert similarity_curve(stopped, iterations=10) == ([0.5], [pytest.approx(0.45)])


def test_smoothing_keeps_length_and_mean_level():
    xs, ys = smooth((list(range(100)), [1.0, 3.0] * 50))
    assert len(xs) == len(ys) == 100
    assert ys[50] == pytest.approx(2.0, abs=0.4)
    assert smooth(([1, 2], [5.0, 7.0])) == ([1, 2], [5.0, 7.0])


def test_curves_of_trainings_that_count_iterations():
    """One training without epochs makes iterations the unit; a curve that no training logged is left out."""
    by_epoch = [dict(record, epoch=1) if "iter" in record else record for record in STUDENT]
    curves, unit = along({"student": [by_epoch]})
    assert unit == "epoch" and curves == {
        "precision": {"student": [([1], [0.25])]},
        "loss": {"student": [([1.0], [3.0])]},
    }
    curves, unit = along({"student": [by_epoch], "distilled": [DISTILLED]})
    assert unit == "iteration" and curves["precision"] == {"student": [([5.0], [0.25])], "distilled": [([1.0], [0.5])]}
    assert curves["similarity"] == {"student": [([], [])], "distilled": [([5.0], [pytest.approx(0.45)])]}


def test_a_curve_of_one_record_is_seen():
    axes = Figure().subplots()
    curves = {"student": [([1.0], [2.0])], "distilled": [([1.0, 2.0], [2.0, 1.0])]}
    draw(axes, "loss", curves, "epoch", dict.fromkeys(curves, "black"))
    assert [line.get_marker() for line in axes.get_lines()] == ["o", "None"] and axes.get_xlabel() == "epoch"


@pytest.mark.filterwarnings("error")
def test_a_plot_without_curves_has_no_legend():
    axes = Figure().subplots()
    draw(axes, "similarity", {}, "epoch", {})
    assert axes.get_legend() is None
