"""Figures in README.md and docs/benchmark.md are those of the recorded trainings."""

import json
from pathlib import Path

import pytest

from pcka_mmdet.experiments.data_sets import DATA_SETS
from pcka_mmdet.experiments.methods import LONGER, PLAIN
from pcka_mmdet.report.trials import Row, Trial, rows

TABLES = {
    page: [line.replace("*", "") for line in Path(page).read_text().splitlines() if line.startswith("|")]
    for page in ("README.md", "docs/benchmark.md")
}


def results(name: str, split: str) -> dict[str, Row]:
    """The student alone and the default, in the converged regime."""
    content = json.loads(Path(f"docs/results/methods/{name}.json").read_text())
    trials = [trial for entry in content.values() if (trial := Trial(**entry["trial"])).regime == "converged"]
    shown = [(method, 1.0) for method in (PLAIN, DATA_SETS[name].recipe, LONGER)]
    return {row.method: row for row in rows(trials, shown, PLAIN, split)}


def cell(row: Row) -> str:
    """Mean and standard deviation."""
    return f"{row.mean:.3f} ({row.deviation:.3f})"


def difference(row: Row) -> str:
    found = row.difference
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


@pytest.mark.parametrize(
    "name, split",
    [
        ("bccd", "test"),
        ("deeppcb", "test"),
        ("bccd-imagenet", "test"),
        ("bccd-two-stage", "test"),
        ("bccd-equal", "test"),
        ("bccd-two-families", "val"),
    ],
)
def test_the_table_of_what_to_expect(name, split):
    found = results(name, split)
    plain, distilled = found[PLAIN], found[DATA_SETS[name].recipe]
    said = [cell(plain), cell(distilled), difference(distilled), f"| {len(distilled.values)} |"]
    if LONGER in found and len(found[LONGER].values) > 1:
        said.append(cell(found[LONGER]))
    assert [line for line in TABLES["README.md"] if all(text in line for text in said)], said


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("name", ["bccd-imagenet", "bccd-two-stage", "bccd-equal", "deeppcb"])
def test_differences_by_seed(name, split):
    found = results(name, split)
    plain, distilled = found[PLAIN].values, found[DATA_SETS[name].recipe].values
    said = ", ".join(f"{distilled[seed] - plain[seed]:+.3f}" for seed in sorted(distilled))
    assert [line for line in TABLES["docs/benchmark.md"] if said in line], said
