"""Decoding of boxes, and the difference of boxes, also where one of them has no area."""

import pytest
import torch

from pcka_mmdet.models.heads.boxes import decode, difference, giou
from pcka_mmdet.models.outputs import constant
from tests.boxes import giou as reference_giou


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_giou_where_both_have_an_area():
    student, teacher = boxes([-1, -1, 1, 2], [0, 0, 3, 1]), boxes([-1, 0, 2, 2], [4, 4, 5, 6])
    expected = [2 * (1 - reference_giou(first, second)) for first, second in zip(student, teacher, strict=True)]
    torch.testing.assert_close(difference(student, teacher), torch.stack(expected))


def test_giou_is_mmdetections():
    """With tiny boxes, whose areas are below its epsilon, too."""
    from mmdet.structures.bbox import bbox_overlaps

    corner, sides = random(0, 2, 40, 2), random(1, 2, 40, 2).abs() * torch.logspace(-5, 1, 40)[:, None]
    pair = torch.cat([corner * sides.mean(-1, keepdim=True), corner * sides.mean(-1, keepdim=True) + sides], -1)
    results = []
    for function in (giou, lambda first, second: bbox_overlaps(first, second, mode="giou", is_aligned=True)):
        student = pair[0].clone().requires_grad_()
        values = function(student, pair[1])
        values.sum().backward()
        results.append((values.detach(), student.grad))
    torch.testing.assert_close(*results)


INVERTED = [[0.3, 0.3, -0.3, -0.3], [1, -1, 0.5, 1], [-1, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("inverted", INVERTED, ids=str)
def test_a_teachers_box_without_an_area_says_nothing(inverted):
    student = boxes([-1, -1, 1, 1], inverted, [0.2, 0.2, -0.2, -0.2]).requires_grad_()
    values = difference(student, boxes(inverted).expand(3, 4))
    values.sum().backward()
    assert (values == 0).all() and (student.grad == 0).all()


@pytest.mark.parametrize("inverted", INVERTED, ids=str)
def test_a_students_box_without_an_area_is_drawn_to_the_teachers(inverted):
    """By the distance of the corners, in units of the half perimeter (here 4)."""
    student, teacher = boxes(inverted).requires_grad_(), boxes([-1, -1, 1, 1])
    values = difference(student, teacher)
    torch.testing.assert_close(values, 2 + (student - teacher).abs().sum(1) / 4)
    values.sum().backward()
    torch.testing.assert_close(student.grad, (student.detach() - teacher).sign() / 4)


@pytest.mark.parametrize("side", [1e-4, 0.1, 0.5])
def test_a_small_box_of_the_teachers_is_no_unit(side):
    """At 1e-4 the difference was 20,000 and its gradient 5,000: the unit is 1, a stride, at least."""
    student, teacher = boxes([1, 1, -1, -1]).requires_grad_(), boxes([0, 0, side, side])
    values = difference(student, teacher)
    torch.testing.assert_close(values, boxes([6 + 2 * side])[0])
    values.sum().backward()
    assert student.grad.tolist() == [[1, 1, -1, -1]]


def test_gradient():
    student, teacher = random(0, 20, 4), random(1, 20, 4)
    assert ((student[:, 2:] > student[:, :2]).all(1)).any()
    assert torch.autograd.gradcheck(lambda x: difference(x, teacher), student.requires_grad_())


CODERS = {
    "plain": dict(type="DeltaXYWHBBoxCoder"),
    "scaled": dict(type="DeltaXYWHBBoxCoder", target_means=[0.1, 0.2, -0.1, 0.0], target_stds=[0.1, 0.2, 0.3, 0.4]),
    "box type": dict(type="DeltaXYWHBBoxCoder", use_box_type=True),
    "clamped centre": dict(type="DeltaXYWHBBoxCoder", add_ctr_clamp=True, ctr_clamp=1),
    "legacy": dict(type="LegacyDeltaXYWHBBoxCoder"),
    "sides": dict(type="TBLRBBoxCoder"),
}


@pytest.mark.parametrize("coder", CODERS)
def test_decode_is_the_coders(coder):
    """Wild codes are clamped, too."""
    from mmdet.registry import TASK_UTILS
    from mmdet.structures.bbox import get_box_tensor

    coder, codes = TASK_UTILS.build(CODERS[coder]), 4 * random(0, 2, 30, 4)
    anchors = torch.cat([random(1, 30, 2), random(2, 30, 2).abs() + 2], -1)
    unit = boxes([-0.5, -0.5, 0.5, 0.5]).expand(60, 4)
    expected = get_box_tensor(coder.decode(unit, codes.flatten(0, 1))).view_as(codes)
    torch.testing.assert_close(decode(coder, codes), expected)
    expected = get_box_tensor(coder.decode(anchors.repeat(2, 1), codes.flatten(0, 1))).view_as(codes)
    torch.testing.assert_close(decode(coder, codes, anchors), expected)


def test_a_constant_is_uploaded_once():
    """Also where inference asked for it first."""
    cpu = torch.device("cpu")
    with torch.inference_mode():
        values = constant((1.0, 2.5), cpu, torch.float64)
    assert values is constant((1.0, 2.5), cpu, torch.float64) and not values.is_inference()
