"""Means, spreads and differences over seeds."""

import pytest

from pcka_mmdet.report.seeds import Run, summary, table

RUNS = [
    Run("student", 20, 0, val=0.20, test=0.25, seconds=100),
    Run("student", 20, 1, val=0.30, test=0.35, seconds=110),
    Run("distilled", 20, 0, val=0.30, test=0.37, seconds=200),
    Run("distilled", 20, 1, val=0.36, test=0.41, seconds=220),
    Run("student", 60, 0, val=0.50, test=0.55, seconds=300),
]


def entry(epochs: int, split: str, method: str) -> dict:
    (found,) = [e for e in summary(RUNS) if (e["epochs"], e["split"], e["method"]) == (epochs, split, method)]
    return found


def test_mean_and_spread():
    assert entry(20, "val", "student") == {
        "epochs": 20,
        "split": "val",
        "method": "student",
        "by_seed": {0: 0.2, 1: 0.3},
        "mean": 0.25,
        "spread": 0.1,
        "seconds": 105,
    }


def test_differences_are_taken_seed_by_seed():
    difference = entry(20, "test", "difference")
    assert difference["by_seed"] == pytest.approx({0: 0.12, 1: 0.06})
    assert difference["mean"] == pytest.approx(0.09)
    assert "seconds" not in difference


def test_a_length_with_one_method_has_no_difference():
    assert [e["method"] for e in summary(RUNS) if e["epochs"] == 60] == ["student", "student"]  # val and test


def test_table():
    header, rows = table(summary(RUNS), "val")
    assert header == ["", "epochs", "seed 0", "seed 1", "mean", "spread", "seconds"]
    assert rows == [
        ["student", "20", "0.200", "0.300", "0.250", "0.100", "105"],
        ["distilled", "20", "0.300", "0.360", "0.330", "0.060", "210"],
        ["difference", "20", "+0.100", "+0.060", "+0.080", "0.040", ""],
        ["student", "60", "0.500", "", "0.500", "0.000", "300"],
    ]
