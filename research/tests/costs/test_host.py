"""The counts of the host's work."""

import torch

from research.costs.host import FIRST, costs


def test_calls_and_operators_are_counted_from_the_start_on():
    x = torch.ones(2, requires_grad=True)

    def run(call, steps):
        for step in range(steps):
            if step >= FIRST:
                call()
            (x.detach() + 1).mul(2)

    found = costs(run)
    assert found["operators"] == 3  # detach, add, mul
    assert 2 <= found["calls"] < 8
