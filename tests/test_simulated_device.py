"""The simulated device behaves as a GPU where tests rely on it."""

import pytest
import torch

from pcka_mmdet.models.outputs import HostCopy
from tests.simulated_device import NAME, SimulatedTensor, needs_simulation, on_cpu, simulated_device

pytestmark = needs_simulation


@pytest.fixture
def device():
    with simulated_device() as device:
        yield device


def test_it_computes_as_the_cpu(device):
    x, y = torch.randn(3, 4), torch.randn(4, 2)
    there = [value.to(NAME).requires_grad_() for value in (x, y)]
    (there[0] @ there[1]).exp().sum().backward()
    here = [value.requires_grad_() for value in (x, y)]
    (here[0] @ here[1]).exp().sum().backward()
    for one, other in zip(there, here, strict=True):
        assert isinstance(one.grad, SimulatedTensor) and torch.equal(on_cpu(one.grad), other.grad)


def test_devices_do_not_mix_but_for_scalars(device):
    there = torch.ones(2, device=NAME)
    with pytest.raises(RuntimeError, match="add mixes sim and CPU tensors"):
        there + torch.ones(2)
    assert on_cpu(there + torch.tensor(1.0)).tolist() == [2, 2]


def test_waits_and_uploads_are_noted(device):
    there = torch.arange(4.0, device=NAME)
    actions = {
        "wait": [lambda: there.sum().item(), lambda: there[there > 1], there.cpu, there.tolist, there.nonzero],
        "upload": [lambda: torch.tensor([1.0], device=NAME), lambda: there[[0, 1]], lambda: there.new_tensor([1.0])],
    }
    for kind, functions in actions.items():
        for function in functions:
            with device.events() as events:
                function()
            assert [event.kind for event in events] == [kind]
    with device.events() as events:
        there[1:].mul_(2).clamp(min=1).sum() + torch.zeros(3, device=NAME)
    assert events == []


def test_a_copy_that_does_not_block_has_no_value_before_its_event(device):
    with device.events() as events:
        value = torch.full((), 3.0, device=NAME).to("cpu", non_blocking=True)
    assert [event.kind for event in events] == ["read"] and value != 3
    copy = HostCopy(torch.full((), 2.0, device=NAME))
    assert copy.read() == 2 and value == 3  # it was on its way before
    assert HostCopy(torch.full((), torch.inf, device=NAME)).read() == torch.inf
    assert HostCopy(torch.tensor(2.0)).read() == 2


def test_autocast_casts_as_on_the_cpu(device):
    x, y = torch.randn(3, 4, device=NAME), torch.randn(4, 2, device=NAME)
    with torch.autocast(NAME, torch.bfloat16):
        assert (x @ y).dtype is torch.bfloat16
        assert torch.nn.functional.mse_loss((x @ y), (x @ y)).dtype is torch.float32
        with torch.autocast(NAME, enabled=False):
            assert (x @ y).dtype is torch.float32
