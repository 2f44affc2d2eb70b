"""LossScheduleHook in a run: what the losses are multiplied by, and when the teacher runs."""

import pytest
import torch

from pcka_mmdet.engine.hooks.distillation import LossScheduleHook
from tests.detectors import distillation, retinanet
from tests.runners import runner


def losses(run, name="pcka", stride=8):
    return run.message_hub.log_scalars[f"train/distill.loss_{name}_s{stride}"].data[0]


def test_factor():
    ramp = LossScheduleHook(ramp=4)
    assert [ramp.factor(i) for i in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    both = LossScheduleHook(ramp=4, every=2)
    assert [both.factor(i) for i in range(7)] == [0, 0, 0.5, 0, 1, 0, 1]
    assert {LossScheduleHook().factor(i) for i in range(9)} == {1}
    assert [LossScheduleHook(stop=2).factor(i) for i in range(4)] == [1, 1, 0, 0]


def test_a_ramp_multiplies_every_loss(tmp_path):
    """Nothing is learnt at a learning rate of 0, and the images are the same in every epoch."""
    runs = []
    for hooks in ([], [dict(type="pcka_mmdet.LossScheduleHook", ramp=4)]):
        optimizer = dict(optimizer=dict(type="SGD", lr=0.0))
        run = runner(distillation(), tmp_path / str(len(hooks)), 2, optim_wrapper=optimizer, custom_hooks=hooks)
        run.train()
        runs.append(run)
    plain, ramped = runs
    factors = torch.tensor([0, 0.25, 0.5, 0.75, 1, 1], dtype=torch.float64)
    for name in ("pcka", "mimic"):
        expected = factors * torch.from_numpy(losses(plain, name))
        torch.testing.assert_close(torch.from_numpy(losses(ramped, name)), expected, rtol=1e-5, atol=0)  # of float32


def test_the_teacher_runs_in_one_iteration_of_so_many(tmp_path, monkeypatch):
    run = runner(distillation(), tmp_path, epochs=2, custom_hooks=[dict(type="pcka_mmdet.LossScheduleHook", every=3)])
    calls, forward = [], run.model._teacher.neck_forward
    monkeypatch.setattr(run.model._teacher, "neck_forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    run.train()
    assert len(calls) == 2
    assert [bool(value) for value in losses(run)] == [True, False, False, True, False, False]


def test_a_resumed_training_goes_on_in_the_schedule(tmp_path):
    hooks = [dict(type="pcka_mmdet.LossScheduleHook", ramp=100)]
    runner(distillation(), tmp_path, custom_hooks=hooks).train()
    resumed = runner(distillation(), tmp_path, epochs=2, custom_hooks=hooks, resume=True)
    resumed.train()
    assert resumed.model.distiller.factor == pytest.approx(5 / 100)


@pytest.mark.parametrize("options", [dict(ramp=-1), dict(every=0), dict(stop=0)])
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="ramp is at least 0, every and stop at least 1, got ramp="):
        LossScheduleHook(**options)


def test_a_model_that_distils_nothing(tmp_path):
    run = runner(retinanet(), tmp_path, custom_hooks=[dict(type="pcka_mmdet.LossScheduleHook")])
    with pytest.raises(ValueError, match="is for an FPNDistill, got a RetinaNet: take it out of custom_hooks"):
        run.train()
