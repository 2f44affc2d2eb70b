"""Tables of trainings with several seeds and lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

SPLITS = ("val", "test")


@dataclass(frozen=True)
class Run:
    """A training: method, epochs and seed, AP on both splits, training seconds."""

    method: str
    epochs: int
    seed: int
    val: float
    test: float
    seconds: float


def summary(runs: Sequence[Run]) -> list[dict]:
    """AP by seed, mean and spread (largest minus smallest), for each length, split and method.

    A length with student and distilled student has a third entry, `method='difference'`: distilled minus student.
    """
    return [entry for epochs in _sorted(runs, "epochs") for split in SPLITS for entry in _compare(runs, epochs, split)]


def _compare(runs: Sequence[Run], epochs: int, split: str) -> list[dict]:
    entries: dict[str, dict] = {}
    for method in dict.fromkeys(run.method for run in runs):
        chosen = sorted((r for r in runs if (r.method, r.epochs) == (method, epochs)), key=lambda run: run.seed)
        if chosen:
            values = {run.seed: getattr(run, split) for run in chosen}
            seconds = round(sum(run.seconds for run in chosen) / len(chosen), 1)
            entries[method] = _entry(epochs, split, method, values) | {"seconds": seconds}
    if {"student", "distilled"} <= set(entries):
        student, distilled = (entries[method]["by_seed"] for method in ("student", "distilled"))
        ahead = {seed: distilled[seed] - student[seed] for seed in distilled if seed in student}
        if ahead:
            entries["difference"] = _entry(epochs, split, "difference", ahead)
    return list(entries.values())


def _entry(epochs: int, split: str, method: str, values: dict[int, float]) -> dict:
    return {
        "epochs": epochs,
        "split": split,
        "method": method,
        "by_seed": {seed: round(value, 4) for seed, value in values.items()},
        "mean": round(sum(values.values()) / len(values), 4),
        "spread": round(max(values.values()) - min(values.values()), 4),
    }


def table(entries: Sequence[dict], split: str) -> tuple[list[str], list[list[str]]]:
    """Header and cells of one split's table, from `summary`."""
    seeds = sorted({seed for entry in entries for seed in entry["by_seed"]})
    header = ["", "epochs", *(f"seed {seed}" for seed in seeds), "mean", "spread", "seconds"]
    rows = []
    for entry in entries:
        if entry["split"] == split:
            form = "{:+.3f}" if entry["method"] == "difference" else "{:.3f}"
            by_seed = [form.format(entry["by_seed"][seed]) if seed in entry["by_seed"] else "" for seed in seeds]
            seconds = f"{entry['seconds']:.0f}" if "seconds" in entry else ""
            mean, spread = form.format(entry["mean"]), f"{entry['spread']:.3f}"
            rows.append([entry["method"], str(entry["epochs"]), *by_seed, mean, spread, seconds])
    return header, rows


def _sorted(runs: Sequence[Run], name: str) -> list[int]:
    return sorted({getattr(run, name) for run in runs})
