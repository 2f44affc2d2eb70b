"""Steps of a model on the CPU and on a simulated device, and what both must have in common."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper

from tests.detectors import build, raw_batch
from tests.simulated_device import NAME, Event, SimulatedDevice, on_cpu, simulated_device


class Bfloat16(OptimWrapper):
    """Autocast on any device; MMEngine's own asks for a GPU."""

    device = "cpu"

    @contextlib.contextmanager
    def optim_context(self, model: BaseModel) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(self.device, torch.bfloat16):
            yield


def steps(
    config: dict,
    device: SimulatedDevice | None = None,
    batch: Callable[[], dict] = lambda: raw_batch((64, 64), (48, 64)),
    wrapper: type[OptimWrapper] = OptimWrapper,
    accumulate: int = 1,
) -> tuple[list[dict], list[dict], list[Event]]:
    """Two steps of a model: its losses and the gradients of each, and what the second one does with the device."""
    model = build(config).train()
    if device is not None:
        device.move(model)
    gradients, logs = [], []
    optim = wrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3))
    optim.device = "cpu" if device is None else NAME
    optim._accumulative_counts = accumulate
    optim.optimizer.register_step_pre_hook(lambda *_: gradients.append(gradients_of(model)))
    for index in range(2 * accumulate):
        torch.manual_seed(index)
        data = batch()
        with contextlib.nullcontext([]) if device is None else device.events() as events:
            logs.append(model.train_step(data, optim))
    return [{key: float(on_cpu(value)) for key, value in log.items()} for log in logs], gradients, events


def gradients_of(model: BaseModel) -> dict[str, torch.Tensor]:
    return {name: on_cpu(p.grad).clone() for name, p in model.named_parameters() if p.grad is not None}


def check(config: dict, tolerance: float = 1e-5, left_out: tuple[str, ...] = (), **options: Any) -> None:
    """The losses and gradients are the CPU's, and nothing of ours waits or uploads from the second step on.

    Args:
        config: The model's config.
        tolerance: Of losses and gradients, on the scale of a layer's largest one: a bias before a batch norm has a
            gradient of 0 but for rounding.
        left_out: Files whose waits and uploads do not count.
        **options: See `steps`.
    """
    expected, wanted, _ = steps(config, **options)
    with simulated_device() as device:
        logs, gradients, events = steps(config, device, **options)
    assert len(gradients) == 2 and [log.keys() for log in logs] == [log.keys() for log in expected]
    for log, values in zip(logs, expected, strict=True):
        assert log == pytest.approx(values, rel=tolerance, abs=tolerance)
    for found, one in zip(gradients, wanted, strict=True):
        assert found.keys() == one.keys()
        scales: dict[str, float] = {}
        for name, gradient in one.items():
            layer = name.rpartition(".")[0]
            scales[layer] = max(gradient.abs().max().item(), scales.get(layer, 1e-3))
        for name, gradient in one.items():
            scale = scales[name.rpartition(".")[0]]
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=tolerance * scale, msg=name)
    ours = [event for event in events if event.ours and not event.place.startswith(left_out)]
    assert [(e.kind, e.operator, e.place) for e in ours if e.kind != "read"] == []
    assert len([event for event in ours if event.kind == "read"]) <= 3
