"""What benchmarks measure with."""

from types import SimpleNamespace

import torch

from research.costs import measure
from research.costs.measure import interleaved
from tests.live_bytes import LiveBytes

MEGABYTE = 1_000_000


def test_functions_take_turns_and_the_median_counts(monkeypatch):
    """But not the first turn, which is the slowest of all."""
    calls, clock, turns = [], [0.0], dict(a=[90, 1, 5, 2], b=[90, 8, 4, 6])
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def work(name):
        calls.append(name)
        clock[0] += turns[name][calls.count(name) - 1]

    assert interleaved({name: lambda name=name: work(name) for name in "ab"}, rounds=3) == dict(a=2, b=6)
    assert calls == ["a", "b"] * 4


def test_live_bytes_at_their_peak():
    given = torch.zeros(MEGABYTE, dtype=torch.uint8)
    with LiveBytes() as live:
        view = given[10:].view(torch.uint8)  # nothing new
        assert live.peak == 0 and view.numel() == MEGABYTE - 10
        first = given + 1
        second = first + 1
        del first
        third = second + 1
        del second, third
        given.add_(1)
    assert live.peak == 2 * MEGABYTE and live.live == 0
