"""MaskedGenerationLoss: the formula, and masks that a resumed training goes on with."""

import pytest
import torch
from mmengine.logging import MessageHub

from pcka_mmdet.models import MaskedGenerationLoss, training_state
from pcka_mmdet.models.levels import Level


def loss(channels: int = 6, stride: int = 8, **options) -> MaskedGenerationLoss:
    torch.manual_seed(0)
    result = MaskedGenerationLoss(**options)
    result.prepare(Level(0, stride, 4), Level(0, stride, channels))
    return result


def test_equals_the_formula():
    module = loss(loss_weight=0.5, mask_ratio=0.4).double()
    student, teacher = torch.randn(2, 4, 5, 7, dtype=torch.double), torch.randn(2, 6, 5, 7, dtype=torch.double)
    drawn = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(8))
    masked = module.connector(student) * (drawn >= 0.4)
    expected = 0.5 * sum((module.generator(masked[i]) - teacher[i]).square().sum() for i in range(2)) / 2
    torch.testing.assert_close(module(student, teacher), expected)
    generated = module.generator(masked).flatten()
    cosine = generated.dot(teacher.flatten()) / generated.norm() / teacher.norm()
    torch.testing.assert_close(module.metrics()["similarity.generation"], cosine.detach())


def test_each_call_has_its_own_masks_without_a_runner():
    MessageHub.get_current_instance().runtime_info.pop("iter", None)
    module, maps = loss(), torch.ones(1, 6, 32, 32)
    masks = [module.mask(maps) for _ in range(3)]
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[1], masks[2])


def test_each_iteration_and_each_stride_has_its_own_masks():
    module, maps, state = loss(), torch.ones(1, 6, 32, 32), torch.get_rng_state()
    masks = []
    for iteration in (0, 1, 2, 1):  # the last one: resumed from the first
        MessageHub.get_current_instance().update_info("iter", iteration)
        masks.append(module.mask(maps))
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[1], masks[2])
    assert torch.equal(masks[1], masks[3]) and not torch.equal(masks[1], loss(stride=16).mask(maps))
    assert abs(masks[0].mean() - 0.35) < 0.06
    assert torch.equal(torch.get_rng_state(), state)


def test_each_process_has_its_own_masks(monkeypatch):
    MessageHub.get_current_instance().update_info("iter", 1)
    module, maps = loss(), torch.ones(1, 6, 32, 32)
    one = module.mask(maps)
    monkeypatch.setattr(training_state, "get_rank", lambda: 1)
    assert not torch.equal(one, module.mask(maps))


def test_each_seed_has_its_own_masks():
    module, maps, masks = loss(), torch.ones(1, 6, 32, 32), []
    for seed in (0, 1, 2, 1):
        MessageHub.get_current_instance().update_info_dict(dict(iter=1, seed=seed))
        masks.append(module.mask(maps))
    assert torch.equal(masks[1], masks[3])
    assert not any(torch.equal(masks[i], masks[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_a_gradient_for_every_parameter_and_none_for_the_teacher():
    module, teacher = loss(), torch.randn(2, 6, 4, 4, requires_grad=True)
    module(torch.randn(2, 4, 4, 4), teacher).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters()) and teacher.grad is None


def test_mask_ratio():
    with pytest.raises(ValueError, match="mask_ratio is at least 0 and below 1, got 1"):
        MaskedGenerationLoss(mask_ratio=1)
