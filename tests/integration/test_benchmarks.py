"""Benchmarks run, on tiny maps."""

import json

import torch

from pcka_mmdet.analysis.benchmark import machine


def test_the_loss_benchmark_runs(command, tmp_path):
    sizes = ["--batch", 2, "--channels", 4, "--size", 128, 160, "--patch-size", 4, "--rounds", 1]
    out = command("tools/benchmarks/loss.py", *sizes, "--out", tmp_path / "loss.json").stdout
    lines = [line for line in out.splitlines() if ": value " in line]
    assert len(lines) == 3
    for line in lines:  # "NAME: value A against B, gradients within E of the largest"
        words = line.split()
        value, ours, gradient = (float(words[words.index(w) + 1].strip(",")) for w in ("value", "against", "within"))
        assert abs(value - ours) < 1e-4 * ours and gradient < 1e-5
    result = json.loads((tmp_path / "loss.json").read_text())
    assert set(result["seconds"]) == {"PCKALoss", "PKDLoss", "naive loop", "loop over unbind", "batched, autograd"}
    assert result["machine"]["torch"] == torch.__version__ == machine()["torch"]
