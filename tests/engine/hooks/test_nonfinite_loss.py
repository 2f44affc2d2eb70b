"""NonFiniteLossHook in a run: what a step that is skipped leaves, what is logged, and when the training ends."""

import copy
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from pcka_mmdet.engine.hooks.nonfinite_loss import NonFiniteLossHook, batch_augments
from pcka_mmdet.models import MimicLoss
from pcka_mmdet.registry import MODELS
from tests.detectors import build, distillation, raw_batch, retinanet
from tests.runners import RandomScenes, runner

ADAM = dict(optimizer=dict(type="AdamW", lr=1e-3))
BF16 = dict(ADAM, type="pcka_mmdet.CpuAmpOptimWrapper")
FP16 = dict(BF16, dtype="float16", loss_scale=64)


class Scenes(RandomScenes):
    """Images, those of some steps with a pixel that is not finite."""

    def __init__(self, bad_steps, steps=4, without=()):
        torch.manual_seed(0)
        super().__init__(2 * steps)
        for step in bad_steps:
            self.items[2 * step]["inputs"] = [self.items[2 * step]["inputs"][0].float().fill_(torch.nan)]
        self.items = [item for i, item in enumerate(self.items) if i // 2 not in without]


def run(tmp_path, dataset, wrapper=ADAM, max_skips=None, hooks=(), losses=None):
    loader = dict(dataset=dataset, batch_size=2, sampler=dict(type="DefaultSampler", shuffle=False), num_workers=0)
    hooks = [dict(type="pcka_mmdet.NonFiniteLossHook", max_skips=max_skips), *hooks]
    options = dict(train_dataloader=loader, optim_wrapper=copy.deepcopy(wrapper), custom_hooks=hooks)
    model = distillation()
    model["distiller"]["losses"] = losses or model["distiller"]["losses"]
    return runner(model, tmp_path / str(len(dataset)), **options)


def check_equal(state, expected):
    assert len(expected) > 100 and state.keys() == expected.keys()
    for key, value in state.items():
        assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize("wrapper", [ADAM, FP16], ids=["fp32", "fp16"])
def test_a_step_that_is_skipped_leaves_no_trace(tmp_path, wrapper):
    """Weights and batch norm statistics are those of a training without its batch; so is what EMAHook averages."""
    skipping = run(tmp_path, Scenes([1]), wrapper, max_skips=1, hooks=[dict(type="EMAHook", momentum=0.5)])
    skipping.train()
    without = run(tmp_path, Scenes([], without=[1]), wrapper)
    without.train()
    check_equal(skipping.model.state_dict(), without.model.state_dict())
    average = next(hook for hook in skipping.hooks if type(hook).__name__ == "EMAHook").ema_model
    assert all(torch.isfinite(value).all() for value in average.state_dict().values())
    assert not skipping.model.skips_nonfinite
    (hook,) = (hook for hook in skipping.hooks if isinstance(hook, NonFiniteLossHook))
    assert hook.failed_step(skipping) is None


@MODELS.register_module(force=True)
class OnceInfinite(MimicLoss):
    """Infinite by a constant, so that no gradient shows it, when it is called for the second time."""

    def forward(self, *maps):
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(*maps) + (torch.inf if self.calls == 2 else 0)


def test_a_step_is_skipped_though_its_gradients_are_finite(tmp_path):
    losses = dict(mimic=dict(type="pcka_mmdet.OnceInfinite", strides=(8,)))
    training = run(tmp_path, Scenes([]), max_skips=1, losses=losses)
    weights = []

    class Watch(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            weights.append(runner.model.architecture.neck.lateral_convs[0].conv.weight.detach().clone())

    training.register_hook(Watch())
    training.train()
    assert [torch.equal(a, b) for a, b in pairwise(weights)] == [True, False, False]


def test_all_gradients_that_are_accumulated_are_dropped(tmp_path):
    """Both batches before the first step of the optimizer."""
    wrapper = dict(ADAM, accumulative_counts=2)
    skipping = run(tmp_path, Scenes([0]), wrapper, max_skips=1)
    skipping.train()
    without = run(tmp_path, Scenes([], without=[0, 1]), wrapper)
    without.train()
    check_equal(skipping.model.state_dict(), without.model.state_dict())


def test_the_batch_that_failed_is_held_and_not_the_last_one(tmp_path):
    training = run(tmp_path, Scenes([0, 2]), dict(ADAM, accumulative_counts=2), max_skips=1)
    with pytest.raises(FloatingPointError, match="2 steps in a row"):
        training.train()
    assert training.iter == 3
    (hook,) = (hook for hook in training.hooks if isinstance(hook, NonFiniteLossHook))
    assert hook.failed_step(training).batch["inputs"][0].isnan().all()


def test_one_too_many_in_a_row_ends_the_training(tmp_path, capsys):
    training = run(tmp_path, Scenes([0, 2, 3]), max_skips=1)
    message = "^these losses are not finite: loss_pcka_s8, .*student's map at stride 8.*. "
    message += "It happened in 2 steps in a row; at most 1 are skipped"
    with pytest.raises(FloatingPointError, match=message):
        training.train()
    assert training.iter == 3
    assert all(torch.isfinite(value).all() for value in training.model.state_dict().values())
    log = capsys.readouterr().out
    for iteration in (1, 3):
        assert (
            f"iteration {iteration} is skipped (1 in a row, at most 1): these losses are not finite: loss_pcka_s8, "
            in log
        )
    assert "iteration 2 is" not in log and "iteration 4 is" not in log


@MODELS.register_module(force=True)
class NanGradient(MimicLoss):
    """Finite, but its gradient is not, when it is called for the second and third time."""

    def forward(self, student, *teacher):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls in (2, 3):
            student.register_hook(lambda gradient: gradient * torch.nan)
        return super().forward(student, *teacher)


def dead_channel(student):
    """NaN reaches the first channel of the first convolution no more, since ReLU takes it."""
    student.backbone.norm_eval = True
    student.train()
    with torch.no_grad():
        student.backbone.bn1.weight[0], student.backbone.bn1.bias[0] = 0, -1


def first_behind_the_neck(student):
    """As DINO's `level_embed`: the first parameter has no part in the neck's maps."""
    head = student._modules.pop("bbox_head")
    student.level_embed = torch.nn.Parameter(torch.ones(()))
    student.bbox_head = head
    head.register_forward_pre_hook(lambda module, maps: (tuple(level * student.level_embed for level in maps[0]),))


@pytest.mark.parametrize("change", [dead_channel, first_behind_the_neck])
def test_a_gradient_that_spares_the_first_parameter(tmp_path, change):
    losses = dict(mimic=dict(type="pcka_mmdet.NanGradient", strides=(8,)))
    training = run(tmp_path, Scenes([]), max_skips=2, losses=losses)
    change(training.model.student)
    training.train()
    assert all(torch.isfinite(value).all() for value in training.model.state_dict().values())


@pytest.mark.parametrize("wrapper", [ADAM, FP16], ids=["fp32", "fp16"])
def test_the_log_of_a_skipped_step_has_no_nan(tmp_path, wrapper):
    """The norm of the gradients is logged before the optimizer steps."""
    training = run(tmp_path, Scenes([1]), dict(wrapper, clip_grad=dict(max_norm=1.0)), max_skips=1)
    training.train()
    norms = training.message_hub.log_scalars["train/grad_norm"].data[0]
    assert len(norms) == 3 and torch.isfinite(torch.as_tensor(norms)).all()
    for name, scalar in training.message_hub.log_scalars.items():
        if "loss" in name:
            assert torch.isfinite(torch.as_tensor(scalar.data[0])).all(), name
    assert len(training.message_hub.log_scalars["train/loss"].data[0]) == 3


def test_the_random_states_of_gpus_are_not_read(monkeypatch):
    """A saved step is repeated on the CPU, and each GPU would make the host wait."""
    hook, run = NonFiniteLossHook(), SimpleNamespace(model=build(distillation()))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.zeros(16)])
    hook.before_train_iter(run, 0, raw_batch())
    assert hook._held[1]["cuda"] == []


def test_of_a_plain_detector_nothing_is_held(tmp_path):
    hook = NonFiniteLossHook()
    runner(retinanet(), tmp_path, custom_hooks=[hook]).train()
    assert hook._held is None


@pytest.mark.parametrize("wrapper", [ADAM, BF16], ids=["fp32", "bf16"])
def test_a_gradient_that_is_not_finite_is_skipped_too(tmp_path, capsys, wrapper):
    losses = dict(mimic=dict(type="pcka_mmdet.NanGradient", strides=(8,)))
    training = run(tmp_path, Scenes([]), wrapper, max_skips=2, losses=losses)
    training.train()
    assert all(torch.isfinite(value).all() for value in training.model.state_dict().values())
    log = capsys.readouterr().out
    for row, iteration in enumerate((2, 3), start=1):
        assert f"iteration {iteration} is skipped ({row} in a row, at most 2): a gradient is not finite; the " in log
    with pytest.raises(FloatingPointError, match="a gradient is not finite; the losses are finite.*2 steps in a row"):
        run(tmp_path / "again", Scenes([]), wrapper, max_skips=1, losses=losses).train()


def test_the_default_is_to_skip_in_mixed_precision_alone(tmp_path):
    with pytest.raises(FloatingPointError, match="not finite"):
        run(tmp_path, Scenes([0], steps=2)).train()
    mixed = run(tmp_path, Scenes([0, 1], steps=3), BF16)
    mixed.train()
    assert mixed.iter == 3


def test_overflow_by_the_loss_scale_is_left_to_the_scaler(tmp_path, capsys):
    training = run(tmp_path, Scenes([]), dict(FP16, loss_scale=dict(init_scale=2.0**127)), max_skips=1)
    training.train()
    assert training.optim_wrapper.loss_scaler.get_scale() == 2.0**123  # halved by each of the four steps
    assert "is skipped" not in capsys.readouterr().out


def test_a_value_out_of_range():
    with pytest.raises(ValueError, match="max_skips is at least 0, got -1"):
        NonFiniteLossHook(max_skips=-1)


def test_batch_augmentations_of_a_classifier_are_no_list():
    """MMPretrain's Mixup and CutMix: one object, which cannot be iterated."""
    preprocessor = SimpleNamespace(batch_augments=SimpleNamespace(augments=[]))
    assert batch_augments(SimpleNamespace(data_preprocessor=preprocessor)) == []
    assert batch_augments(SimpleNamespace(data_preprocessor=SimpleNamespace())) == []
