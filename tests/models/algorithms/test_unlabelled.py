"""Batches with images without labels: only the distillation reads them."""

import copy

import pytest
import torch
from torch import Tensor

from pcka_mmdet.models.balance import GradientBalance
from pcka_mmdet.models.sources import UNLABELLED
from tests.detectors import (
    atss,
    build,
    distillation,
    faster_rcnn,
    fcos,
    gfl,
    raw_batch,
    reppoints,
    retinanet,
    rtmdet,
    step,
    yolox,
)

LABELLED = 2
OWN_HEAD = dict(own=dict(type="pcka_mmdet.OwnHeadLoss"))
MAPS = dict(maps=dict(type="pcka_mmdet.MimicLoss", strides=(8, 16)))


def frozen_norms(config: dict) -> dict:
    """Without batch statistics, the maps of an image are the same in every batch."""
    config = copy.deepcopy(config)
    config["backbone"]["norm_eval"] = True
    return config


def model_of(student: dict, losses: dict, **options) -> torch.nn.Module:
    student = frozen_norms(student)
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    return build(distillation(architecture=student, teacher=student, distiller=distiller, **options)).train()


def batch(model, images=(0, 1, 2, 3), unlabelled=(2, 3)) -> dict:
    """Some of four random images; of these some have no labels."""
    torch.manual_seed(5)
    data = raw_batch(*[(64, 64)] * 4)
    data = dict(inputs=[data["inputs"][i] for i in images], data_samples=[data["data_samples"][i] for i in images])
    for image, sample in zip(images, data["data_samples"], strict=True):
        if image in unlabelled:
            sample.set_metainfo({UNLABELLED: True})
    return model.data_preprocessor(copy.deepcopy(data), True)


def losses_of(model, data: dict) -> dict[str, Tensor]:
    torch.manual_seed(7)  # of two-stage detectors' samplers
    return model(**data, mode="loss")


def part(losses: dict, prefix: str) -> dict[str, Tensor]:
    return {
        key: sum(value) if isinstance(value, list) else value
        for key, value in losses.items()
        if key.startswith(prefix) and "loss" in key
    }


STUDENTS = dict(retinanet=retinanet, fcos=fcos, gfl=gfl, atss=atss, reppoints=reppoints, faster_rcnn=faster_rcnn)


@pytest.mark.parametrize("losses", [MAPS, OWN_HEAD], ids=["maps", "own-head"])
@pytest.mark.parametrize("kind", STUDENTS)
def test_the_tasks_loss_is_that_of_the_labelled_images(kind, losses):
    if losses is OWN_HEAD and kind in ("reppoints",):
        pytest.skip("the own head's loss does not read RepPoints")
    model = model_of(STUDENTS[kind](), losses)
    mixed, alone = losses_of(model, batch(model)), losses_of(model, batch(model, (0, 1)))
    task, wanted = part(mixed, "student."), part(alone, "student.")
    assert task.keys() == wanted.keys() and len(task) > 1
    for key in task:
        torch.testing.assert_close(task[key], wanted[key], rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize("losses", [MAPS, OWN_HEAD], ids=["maps", "own-head"])
def test_the_distillation_is_that_of_all_images(losses):
    model = model_of(retinanet(), losses)
    mixed, all_labelled = losses_of(model, batch(model)), losses_of(model, batch(model, unlabelled=()))
    for key, value in part(all_labelled, "distill.").items():
        torch.testing.assert_close(mixed[key], value)
    assert all(value > 0 for value in part(mixed, "distill.").values())


@pytest.mark.parametrize("kind", [rtmdet, yolox, lambda: faster_rcnn(stages=2)], ids=["rtmdet", "yolox", "cascade"])
def test_other_students_take_a_step(kind):
    model = model_of(kind(), MAPS)
    step(model, losses_of(model, batch(model)))


def test_the_gradient_is_the_labelled_tasks_and_the_distillations():
    model = model_of(retinanet(), MAPS)
    weight = model.student.neck.lateral_convs[0].conv.weight

    def gradient(data: dict, prefix: str) -> Tensor:
        total = sum(part(losses_of(model, data), prefix).values())
        return torch.autograd.grad(total, weight)[0]

    task, distilled = gradient(batch(model, (0, 1)), "student."), gradient(batch(model, unlabelled=()), "distill.")
    mixed = batch(model)
    total = sum(part(losses_of(model, mixed), "").values())
    torch.testing.assert_close(torch.autograd.grad(total, weight)[0], task + distilled, rtol=1e-4, atol=1e-6)


def test_labelled_images_may_be_anywhere_in_the_batch():
    model = model_of(retinanet(), MAPS)
    first, mixed = losses_of(model, batch(model)), losses_of(model, batch(model, (2, 0, 3, 1)))
    for key, value in part(first, "").items():
        torch.testing.assert_close(part(mixed, "")[key], value, rtol=1e-4, atol=1e-6)


def test_a_batch_without_a_labelled_image_is_refused():
    model = model_of(retinanet(), MAPS)
    with pytest.raises(ValueError, match=r"a batch has no labelled image, so the task has no loss: draw batches by"):
        losses_of(model, batch(model, (2, 3)))


def test_the_balance_measures_the_labelled_images():
    """The task has no gradient at the others: their part of the losses' must not count either."""
    balance = GradientBalance(dict(all=0.5))
    outputs = torch.zeros(3, 2, requires_grad=True)
    task, groups = balance.fork([outputs], labelled=1)
    weights = torch.tensor([[3.0, 4.0], [100.0, 0.0], [0.0, 7.0]])
    ((task[0][:1] * torch.tensor([[6.0, 8.0]])).sum() + (groups["all"][0] * weights).sum()).backward()
    scaled = weights * 0.5 * 10 / 5
    torch.testing.assert_close(outputs.grad, scaled + torch.tensor([[6.0, 8.0], [0.0, 0.0], [0.0, 0.0]]))
    assert balance.metrics()["balance.ratio_all"] == pytest.approx(0.5)
    assert balance.metrics()["balance.cosine_all"] == pytest.approx(1.0)


@pytest.mark.parametrize("losses", [MAPS, OWN_HEAD], ids=["maps", "own-head"])
def test_the_balance_of_a_model_is_that_of_its_labelled_images(losses):
    model = model_of(retinanet(), losses, balance=dict(ratio=0.3))
    for data in (batch(model), batch(model, (0, 1))):
        for balance in model.distiller.balances.values():
            balance.restart("all")
        total, _ = model.parse_losses(losses_of(model, data))
        total.backward()
        (balance,) = model.distiller.balances.values()
        if len(data["inputs"]) == 4:
            mixed = balance.averages.clone()
    # the losses are means over all images: twice as many images halve each one's gradient
    torch.testing.assert_close(mixed[:, 0], balance.averages[:, 0], rtol=1e-4, atol=1e-8)
    assert 0.3 < (mixed[0, 1] / balance.averages[0, 1]) < 0.8
