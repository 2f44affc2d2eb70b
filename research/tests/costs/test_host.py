"""The counts of the host's work."""

import torch

from research.costs.host import costs


def test_calls_and_operators_are_counted_from_the_start_on():
    x = torch.ones(2, requires_grad=True)

    def run(start):
        (3 * x).sum()
        start()
        for _ in range(4):
            (x.detach() + 1).mul(2)

    found = costs(run, steps=4)
    assert found["operators"] == 3  # detach, add, mul
    assert 2 <= found["calls"] < 6 and found["milliseconds"] > 0
