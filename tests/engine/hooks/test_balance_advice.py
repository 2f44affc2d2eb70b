"""When the balance's values call for a warning."""

from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub
from torch.utils.data import DataLoader

from pcka_mmdet.engine.hooks import distillation
from pcka_mmdet.engine.hooks.distillation import BalanceAdviceHook
from tests import detectors
from tests.runners import runner


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr(distillation, "warn", texts.append)
    return texts


def steps(hook, *values, name="all", model=None):
    runner = SimpleNamespace(model=model, message_hub=MessageHub.get_current_instance())
    for row in values:
        for key, value in zip(("cosine", "ratio", "scale"), row, strict=True):
            runner.message_hub.update_scalar(f"train/balance.{key}_{name}", value)
        hook.after_train_iter(runner, 0, outputs={f"balance.cosine_{name}": None})


def test_a_loss_against_the_task_is_named_once(said):
    hook = BalanceAdviceHook(iterations=2)
    steps(hook, (-0.3, 8.0, 0.1), (0.1, 8.0, 0.1), (-0.3, 8.0, 0.1), (-0.3, 8.0, 0.1), name="pcka")
    (text,) = said
    assert text.startswith("balance.cosine_pcka was -0.10 on average over 2 iterations: ")


def test_a_loss_that_drowns_the_task(said):
    steps(BalanceAdviceHook(iterations=2), (0.0, 10.0, 1.0), (0.0, 6.0, 1.0), name="mimic")
    (text,) = said
    assert "(mimic) was 8 times the task's" in text and "the task hardly learns" in text


def test_a_loss_that_the_task_drowns(said):
    steps(BalanceAdviceHook(iterations=2), (0.0, 0.001, 1.0), (0.0, 0.003, 1.0), name="mimic")
    steps(BalanceAdviceHook(iterations=2), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), name="without_weight")
    (text,) = said
    assert "(mimic) was 0.002 times the task's" in text and "the distillation does nothing" in text


def test_the_mean_counts(said):
    hook = BalanceAdviceHook(iterations=2)
    steps(hook, (-0.9, 8.0, 0.1), (0.9, 8.0, 0.1), (0.2, 8.0, 0.125), (-0.1, 8.0, 0.1))
    steps(BalanceAdviceHook(iterations=50), (-0.9, 8.0, 0.1))  # too few to tell
    assert said == []


def test_a_training(said, tmp_path):
    """A ratio of 9 is far above what helps."""
    model = detectors.distillation(balance=dict(ratio=dict(pcka=0.1, mimic=9.0)))
    runner(model, tmp_path, epochs=2, custom_hooks=[dict(type="pcka_mmdet.BalanceAdviceHook", iterations=3)]).train()
    assert [text for text in said if "(mimic) was" in text] and not [text for text in said if "pcka" in text]


def test_constant_weights_are_measured_too(said, tmp_path):
    model = detectors.distillation(balance=dict(ratio=None))
    for loss in model["distiller"]["losses"].values():
        loss["loss_weight"] = 1e4
    trained = runner(model, tmp_path, custom_hooks=[dict(type="pcka_mmdet.BalanceAdviceHook", iterations=2)])
    trained.train()
    (text,) = said
    assert "(all) was" in text and "the task hardly learns" in text
    assert trained.message_hub.get_scalar("train/balance.scale_all").current() == 1


def test_nothing_is_said_once_the_distillation_has_stopped(said):
    hook, model = BalanceAdviceHook(iterations=1), SimpleNamespace(distillation_stopped=True)
    steps(hook, (-0.9, 100.0, 1.0), model=model)
    assert said == []
    model.distillation_stopped = False
    steps(hook, (-0.9, 100.0, 1.0), model=model)
    assert len(said) == 2


@pytest.mark.parametrize(("batches", "expected"), [(3, distillation.SHORTEST), (60, 60)])
def test_an_epoch_is_judged_or_as_many_iterations_as_say_something(batches, expected):
    hook = BalanceAdviceHook()
    hook.before_train(SimpleNamespace(train_dataloader=DataLoader(range(batches))))
    assert hook.iterations == expected
