"""The runner of a config on machines of several kinds."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.engine.hooks import PipelineSwitchHook
from mmengine.config import Config
from mmengine.runner import Runner

from pcka_mmdet.engine import runner, training
from pcka_mmdet.engine.hooks.console import ProgressHook
from pcka_mmdet.engine.hooks.similarity import SimilarityHook
from pcka_mmdet.engine.runner import random_state, set_random_state


@pytest.mark.parametrize(
    "device, gloo", [("cpu", True), ("mps", True), ("cuda", False), ("npu", False), ("mlu", False)]
)
def test_several_processes_use_gloo_where_there_is_no_gpu_or_its_like(device, gloo, monkeypatch):
    """MMEngine starts processes on accelerators by their backends, and chooses the device."""
    monkeypatch.setattr(runner, "get_device", lambda: device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(Runner, "from_cfg", lambda config: SimpleNamespace(cfg=config, _resume=False))
    built = runner.build_runner(Config(dict(launcher="pytorch")))
    assert ("model_wrapper_cfg" in built.cfg) == gloo


def test_a_training_has_our_hooks(monkeypatch):
    """Those of the config, else with their default options; the caller's come last."""
    given, more = SimilarityHook(), ProgressHook()
    run = SimpleNamespace(
        model=None, hooks=[given], train_loop=None, train=lambda: None, logger=SimpleNamespace(info=print)
    )
    run.register_hook = run.hooks.append
    monkeypatch.setattr(training, "build_runner", lambda config: run)
    training._train(Config(), [], [], [more], None)
    assert run.hooks[0] is given and run.hooks[-1] is more
    kinds = [type(hook).__name__ for hook in run.hooks]
    assert sorted(kinds[1:-1]) == ["BalanceAdviceHook", "FreshMetricsHook", "NonFiniteLossHook", "SeparateClippingHook"]


def test_random_states_survive_torchs_safe_loader(tmp_path):
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    torch.save(random_state(), tmp_path / "state.pth")
    expected = draw()
    set_random_state(torch.load(tmp_path / "state.pth", weights_only=True))
    assert draw() == expected


def test_a_pipeline_that_a_hook_switches_to_has_the_teachers_size_too(monkeypatch):
    """`PipelineSwitchHook` of RTMDet."""
    monkeypatch.setattr(runner, "_teacher_scale", lambda run: 2)
    resize, larger = dict(type="Resize", scale=(64, 32)), dict(type="Resize", scale=(128, 64))
    hook = PipelineSwitchHook(1, [dict(resize)])
    loader = dict(dataset=dict(pipeline=[dict(resize)]))
    runner.build_training_set(SimpleNamespace(_train_dataloader=loader, hooks=[hook], train_loop=None))
    assert loader["dataset"]["pipeline"] == hook.switch_pipeline == [larger]
