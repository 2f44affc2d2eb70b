"""MimicLoss."""

import pytest
import torch

from pcka_mmdet.models import MimicLoss


def test_value_and_gradient():
    student, teacher = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = MimicLoss(loss_weight=0.5)(student, teacher)
    loss.backward()
    difference = (student - teacher).detach()
    torch.testing.assert_close(loss, 0.5 * difference.square().mean())
    torch.testing.assert_close(student.grad, 0.5 * 2 * difference / difference.numel())
    assert teacher.grad is None


def test_the_similarity_is_the_cosine_of_whole_maps():
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    loss = MimicLoss()
    assert loss.metrics() == {}
    loss(student, teacher)
    x, y = student.double().flatten(), teacher.double().flatten()
    cosine = x.dot(y) / x.norm() / y.norm()
    torch.testing.assert_close(loss.metrics()["similarity.mimic"].double(), cosine, rtol=0, atol=1e-5)


def test_identical_maps_give_zero_and_levels_add_up():
    student = tuple(torch.randn(2, 3, side, side) for side in (8, 4))
    teacher = tuple(torch.randn_like(level) for level in student)
    loss = MimicLoss()
    assert loss(student, student) == 0
    torch.testing.assert_close(loss(student, teacher), loss(student[0], teacher[0]) + loss(student[1], teacher[1]))


def test_half_precision_is_compared_in_float32():
    student, teacher = torch.full((1, 1, 2, 2), 300.0).half(), torch.zeros(1, 1, 2, 2).half()
    assert MimicLoss()(student, teacher) == 300.0**2  # beyond float16


def test_channels_must_agree():
    with pytest.raises(ValueError, match=r"MimicLoss got .*\(1, 3, 4, 4\).*\(1, 2, 4, 4\).*connector"):
        MimicLoss()(torch.randn(1, 3, 4, 4), torch.randn(1, 2, 4, 4))
    assert MimicLoss().needs_connector(3, 3)
