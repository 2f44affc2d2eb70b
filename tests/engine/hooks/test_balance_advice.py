"""When the balance's values call for a warning."""

import pytest

from pcka_mmdet.engine.hooks import BalanceAdviceHook, balance_advice
from tests.detectors import distillation
from tests.runners import runner


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr(balance_advice, "print_log", lambda text, *_, **__: texts.append(text))
    return texts


def epoch(hook, *steps, name="all"):
    for cosine, ratio, scale in steps:
        values = {"cosine": cosine, "ratio": ratio, "scale": scale}
        hook.after_train_iter(None, 0, outputs={f"balance.{key}_{name}": value for key, value in values.items()})
    hook.after_train_epoch(None)


def test_a_loss_against_the_task_is_named_once(said):
    hook = BalanceAdviceHook()
    epoch(hook, (-0.3, 8.0, 0.1), (0.1, 8.0, 0.1), name="pcka")
    epoch(hook, (-0.3, 8.0, 0.1), name="pcka")
    (text,) = said
    assert text.startswith("balance.cosine_pcka was -0.10 on average over this epoch: ")


def test_a_loss_that_drowns_the_task(said):
    hook = BalanceAdviceHook()
    epoch(hook, (0.0, 10.0, 1.0), (0.0, 6.0, 1.0), name="mimic")
    assert said == [text for text in said if "(mimic) was 8.0 times the task's" in text] and len(said) == 1


def test_the_mean_of_the_epoch_counts(said):
    hook = BalanceAdviceHook()
    epoch(hook, (-0.9, 8.0, 0.1), (0.9, 8.0, 0.1))
    epoch(hook, (0.2, 8.0, 0.125))
    assert said == []


def test_a_training(said, tmp_path):
    """A ratio of 9 is far above what helps."""
    model = distillation(balance=dict(ratio=dict(pcka=0.1, mimic=9.0)))
    runner(model, tmp_path, epochs=2, custom_hooks=[dict(type="pcka_mmdet.BalanceAdviceHook")]).train()
    assert [text for text in said if "(mimic) was" in text] and not [text for text in said if "pcka" in text]
    said.clear()
    hooks = [dict(type="pcka_mmdet.BalanceAdviceHook")]
    runner(distillation(), tmp_path / "constant", custom_hooks=hooks).train()
    assert said == []
