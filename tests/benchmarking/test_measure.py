"""What benchmarks measure with."""

import torch

from pcka_mmdet.benchmarking.measure import LiveBytes, interleaved

MEGABYTE = 1_000_000


def test_functions_take_turns():
    calls = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3)
    assert calls == ["a", "b"] * 4 and list(seconds) == ["a", "b"] and all(value >= 0 for value in seconds.values())


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
