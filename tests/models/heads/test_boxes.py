"""The difference of boxes, also where one of them has no area."""

import pytest
import torch

from pcka_mmdet.models.heads.boxes import decode, difference
from tests.boxes import giou


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_giou_where_both_have_an_area():
    student, teacher = boxes([-1, -1, 1, 2], [0, 0, 3, 1]), boxes([-1, 0, 2, 2], [4, 4, 5, 6])
    expected = [2 * (1 - giou(one, other)) for one, other in zip(student, teacher, strict=True)]
    torch.testing.assert_close(difference(student, teacher), torch.stack(expected))


INVERTED = [[0.3, 0.3, -0.3, -0.3], [1, -1, 0.5, 1], [-1, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("inverted", INVERTED, ids=str)
def test_a_teachers_box_without_an_area_says_nothing(inverted):
    student = boxes([-1, -1, 1, 1], inverted, [0.2, 0.2, -0.2, -0.2]).requires_grad_()
    found = difference(student, boxes(inverted).expand(3, 4))
    found.sum().backward()
    assert (found == 0).all() and (student.grad == 0).all()


@pytest.mark.parametrize("inverted", INVERTED, ids=str)
def test_a_students_box_without_an_area_is_drawn_to_the_teachers(inverted):
    """By the distance of the corners, in units of the half perimeter (here 4)."""
    student, teacher = boxes(inverted).requires_grad_(), boxes([-1, -1, 1, 1])
    found = difference(student, teacher)
    torch.testing.assert_close(found, 2 + (student - teacher).abs().sum(1) / 4)
    found.sum().backward()
    torch.testing.assert_close(student.grad, (student.detach() - teacher).sign() / 4)


def test_gradient():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(20, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    assert ((student[:, 2:] > student[:, :2]).all(1)).any()
    assert torch.autograd.gradcheck(lambda own: difference(own, teacher), student.requires_grad_())


def test_a_coder_that_wraps_its_boxes():
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    codes = torch.randn(2, 3, 4)
    plain, wrapped = (decode(DeltaXYWHBBoxCoder(use_box_type=wrap), codes) for wrap in (False, True))
    assert torch.equal(plain, wrapped)
