"""Figures in README.md and on other pages are those of the recorded trainings."""

import json
import re
from pathlib import Path

import pytest

from research.ablations.ablations import read_ablations
from research.ablations.ablations import trainings as trainings_of
from research.methods.data_sets import DATA_SETS
from research.methods.methods import HALF_MORE, HEADS_HALF_MORE, LONGER, PLAIN
from research.trials import Interval, Row, Trial, paired_difference, rows

README, BENCHMARK = (Path(page).read_text() for page in ("README.md", "research/benchmark.md"))
CLASSIFIERS = "configs/classification/README.md"

TABLES = {
    page: [
        [cell.strip() for cell in line.replace("*", "").strip("|").split("|")]
        for line in Path(page).read_text().splitlines()
        if line.startswith("|")
    ]
    for page in ("README.md", "research/benchmark.md", "docs/performance.md", CLASSIFIERS)
}
"""Cells of all rows of all tables."""

CHOOSING_SEED = 1000
"""See `research/methods/__main__.py`."""

BCCD = {
    "student alone": (PLAIN, 1.0),
    "1.5 times as many epochs": (HALF_MORE, 1.0),
    "three times as many epochs": (LONGER, 1.0),
    "mimic, ratio 0.1": ("mimic+balance", 0.1),
    "PKD, 0.1": ("pkd+balance", 0.1),
    "channel-wise, 0.1": ("channel-wise+balance", 0.1),
    "MGD, 0.1": ("mgd+balance", 0.1),
    "PCKA, centred, 0.1": ("pcka-center+balance", 0.1),
    "the recipe `maps`": ("pcka-center+balance", 0.2),
    "PCKA, uncentred, 0.1": ("pcka-none+balance", 0.1),
    "PCKA, debiased, 0.1": ("pcka-debias+balance", 0.1),
    "PCKA, centred, and mimic, 0.1": ("pcka-mimic+balance", 0.1),
    "DIST on class logits of the head, 0.1": ("dist-head+balance", 0.1),
    "own head, 0.3": ("own-head+balance", 0.3),
    "own head, 1": ("own-head+balance", 1.0),
    "both heads, 1": ("both-heads+balance", 1.0),
    "both heads, for 1.5 times": (HEADS_HALF_MORE, 1.0),
    "both heads, the teacher's on half": ("half-heads+balance", 1.0),
    "the default, its teacher in bfloat16": ("bf16-heads+balance", 1.0),
    "both heads, and PCKA": ("heads-pcka+balance", 1.0),
    "constant weights: PKD": ("pkd", 0.01),
    "constant weights: channel-wise": ("channel-wise", 0.01),
    "constant weights: MGD": ("mgd", 1.0),
    "constant weights: PCKA": ("pcka-mimic", 0.01),
    "constant weights: both heads": ("both-heads", 1.0),
}
"""Beginnings of the rows of BCCD's table, with method and setting."""


WITHOUT_TEACHER = {"bccd-imagenet", "bccd-two-stage", "bccd-two-families"}
"""Sets whose teacher's AP was not recorded."""


def trials(name: str) -> list[Trial]:
    content = json.loads(Path(f"research/results/methods/{name}.json").read_text())
    return [Trial(**entry["trial"]) for entry in content.values()]


def found(
    name: str, split: str, *pairs: tuple[str, float], seeds_of: str | None = None, regime: str = "converged"
) -> list[Row | None]:
    """Results by method and setting, with all seeds but the one that chooses, or with those of one method. `None` where
    there is none."""
    trained = [trial for trial in trials(name) if trial.regime == regime and trial.seed != CHOOSING_SEED]
    if seeds_of:  # of a student alone there may be more
        seeds = {trial.seed for trial in trained if trial.method == seeds_of}
        trained = [trial for trial in trained if trial.seed in seeds]
    by_pair = {(row.method, row.setting): row for row in rows(trained, [(PLAIN, 1.0), *pairs], PLAIN, split)}
    return [by_pair.get(pair) for pair in pairs]


def mean(row: Row) -> str:
    return f"{row.mean:.3f} ({row.deviation:.3f})"


def difference(row: Row) -> str:
    return interval(row.difference)


def interval(gain: Interval) -> str:
    return f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


@pytest.mark.parametrize(
    "begin, name, method",
    [
        ("BCCD: RetinaNet, thin", "bccd", "bf16-heads+balance"),
        ("DeepPCB: RetinaNet", "deeppcb", "bf16-heads+balance"),
        ("Digits drawn on photographs", "digits", DATA_SETS["digits"].recipe),
        ("BCCD: a teacher that is no better", "bccd-equal", DATA_SETS["bccd-equal"].recipe),
    ],
)
def test_what_to_expect(begin, name, method):
    """The first table of README.md."""
    (cells,) = [cells for cells in TABLES["README.md"] if cells[0].startswith(begin)]
    pairs = (PLAIN, 1.0), (LONGER, 1.0), (method, 1.0)
    plain, longer, distilled = found(name, "test", *pairs, seeds_of=method)
    _, seeds, teacher, *values, gain = cells
    assert seeds == str(len(plain.values)) == str(len(distilled.values))
    assert (values[0], values[2]) == (mean(plain), mean(distilled)) and gain.startswith(difference(distilled))
    assert bool(values[1]) == bool(longer)
    if longer:
        several = len(longer.values) > 1
        assert values[1].startswith(mean(longer) if several else f"{longer.mean:.3f}, 1 seed")
    recorded = [trial for trial in trials(name) if trial.method == "teacher"]
    assert len(recorded) == (name not in WITHOUT_TEACHER)
    assert all(teacher.startswith(f"{trial.test:.3f}") for trial in recorded)


def test_what_to_expect_in_float32():
    """The sentence below that table."""
    said = " ".join(README.split())
    for name in ("bccd", "deeppcb"):
        (row,) = found(name, "test", (DATA_SETS[name].recipe, 1.0))
        assert difference(row) in said


@pytest.mark.parametrize("begin", BCCD)
def test_each_method_on_bccd(begin):
    """The first table of results in docs/benchmark.md."""
    cells = next(cells for cells in TABLES["research/benchmark.md"] if cells[0].startswith(begin) and len(cells) == 6)
    val, test = (found("bccd", split, BCCD[begin])[0] for split in ("val", "test"))
    assert cells[1:3] == [str(len(val.values)), mean(val)]
    assert cells[4] == (mean(test) if test else "")
    if begin != "student alone":
        assert [cells[3], cells[5]] == [difference(row) if row else "" for row in (val, test)]


@pytest.mark.parametrize(
    "begin, method",
    {
        "the student alone": PLAIN,
        "the same, its weights averaged": "plain-ema",
        "both heads: the default": DATA_SETS["bccd"].recipe,
        "the default, weights averaged": "heads-ema+balance",
        "the default in every second step": "heads-every-second+balance",
        "the default, and PCKA on the maps of the backbone": "heads-backbone+balance",
        "the default, and debiased PCKA": "heads-pcka-debias+balance",
    }.items(),
)
def test_variants_of_the_default(begin, method):
    cells = next(cells for cells in TABLES["research/benchmark.md"] if cells[0].startswith(begin) and len(cells) == 3)
    default, row = found("bccd", "val", (DATA_SETS["bccd"].recipe, 1.0), (method, 1.0), regime="short")[-2:]
    assert cells[1] == mean(row)
    assert cells[2] == ("" if row is default else interval(paired_difference(row.values, default.values)))


@pytest.mark.parametrize("method", ["mimic+balance", "pkd+balance"])
def test_the_lead_over_other_methods_on_the_digits(method):
    """Of the default, seed by seed, on test."""
    default, other = found("digits", "test", (DATA_SETS["digits"].recipe, 1.0), (method, 1.0))
    assert interval(paired_difference(default.values, other.values)) in " ".join(BENCHMARK.split())


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize(
    "name, method",
    [
        *((name, DATA_SETS[name].recipe) for name in ("bccd-imagenet", "bccd-two-stage", "bccd-equal", "deeppcb")),
        ("deeppcb", "bf16-heads+balance"),
        *(("digits", method) for method in (DATA_SETS["digits"].recipe, "mimic+balance", "pkd+balance")),
    ],
)
def test_differences_by_seed(name, method, split):
    plain, distilled = found(name, split, (PLAIN, 1.0), (method, 1.0))
    said = ", ".join(f"{distilled.values[seed] - plain.values[seed]:+.3f}" for seed in sorted(distilled.values))
    (cells,) = [cells for cells in TABLES["research/benchmark.md"] if said in cells]
    assert mean(distilled) in cells
    assert difference(distilled) in cells or (name == "deeppcb" and split == "val")  # that table has no such column


ABLATIONS = read_ablations()
RESULTS_OF_ABLATIONS = Path("research/results/ablations")
RESULTS = "../../results/ablations"
"""As links of `research/configs/ablations/README.md` have it."""


@pytest.mark.parametrize("table", ABLATIONS)
def test_each_ablation(table):
    """Its page is what the tool writes from the results of three seeds."""
    page = (RESULTS_OF_ABLATIONS / f"{table}.md").read_text()
    entries = json.loads((RESULTS_OF_ABLATIONS / "digits.json").read_text()).values()
    done = [Trial(**entry["trial"]) for entry in entries]
    found = trainings_of(ABLATIONS)
    names = {label: found[table, label][0] for label in ABLATIONS[table].demo}
    lines = ABLATIONS[table].results(names, done)
    command = f"python -m research.ablations {table} --seeds 0 1 2"
    assert page == ABLATIONS[table].page(lines, DATA_SETS["digits"].epochs["short"], 3, command)


@pytest.mark.parametrize("table", ABLATIONS)
def test_what_is_said_of_each_ablation(table):
    """Each number of its results is in its table."""
    readme = Path("research/configs/ablations/README.md").read_text()
    (row,) = [line for line in readme.splitlines() if line.startswith("| ") and f"({RESULTS}/{table}.md)" in line]
    page = (RESULTS_OF_ABLATIONS / f"{table}.md").read_text()
    numbers = re.findall(r"\d\.\d{3}", row.split("|")[4])
    assert numbers and all(f" {number} |" in page for number in numbers)


COSTS = {
    "mimic": "mimic",
    "PKD": "pkd",
    "channel-wise": "channel-wise",
    "MGD": "mgd",
    "PCKA, uncentred": "pcka-none",
    "PCKA, centred": "pcka-center",
    "PCKA, debiased": "pcka-debias",
    "PCKA + mimic": "pcka-mimic",
    "RCKA on maps": "rcka",
    "MMD": "mmd",
    "MMD with an RBF kernel": "mmd-rbf",
    "DIST on class logits": "dist-head",
    "own-head": "own-head",
    "teacher-head": "teacher-head",
    "both-heads": "both-heads",
    "both-heads, balanced: the default in float32": "both-heads+balance",
    "so, half of the images": "half-heads+balance",
    "the default, the teacher in bfloat16": "bf16-heads+balance",
    "the default in float32, and PCKA": "heads-pcka+balance",
    "so, and debiased PCKA": "heads-pcka-debias+balance",
    "the default in float32, and PCKA on the backbone": "heads-backbone+balance",
}


def test_the_cost_of_every_method():
    """The table of `docs/performance.md` has each loss of the package."""
    found = json.loads(Path("research/results/cost.json").read_text())
    seconds, memory = found["seconds"], found["memory"]
    rows = [cells for cells in TABLES["docs/performance.md"] if len(cells) == 6 and cells[0] in COSTS]
    cells = {label: rest for row in rows for label, *rest in (row[:3], row[3:]) if label}
    assert cells == {
        label: [f"{1000 * (seconds[name] - seconds['plain']):.0f}", f"{(memory[name] - memory['plain']) / 1e6:.1f}"]
        for label, name in COSTS.items()
    }


@pytest.mark.parametrize(
    "begin, training",
    {
        "teacher": "teacher",
        "student": "student_seed{}",
        "RCKA": "rcka_seed{}",
        "features alone": "rcka_seed{}_loss_weight=0_class_weight=0",
        "logits alone": "rcka_seed{}_loss_weight=0",
        "PCKA": "pcka_seed{}",
        "KD, T = 4": "kd_seed{}",
        "DIST": "dist_seed{}",
    }.items(),
)
def test_classifiers(begin, training):
    """The table of `make demo-cls`."""
    results = json.loads(Path("research/results/classification.json").read_text())
    values, alone = (
        {seed: results[name.format(seed)]["top1_test"] for seed in range(5 if "{}" in name else 1)}
        for name in (training, "student_seed{}")
    )
    (row,) = rows(
        [Trial("", "", 1.0, seed, value, None, 0.0) for seed, value in values.items()], [("", 1.0)], "", "val"
    )
    (cells,) = [cells for cells in TABLES[CLASSIFIERS] if cells[0] == begin and len(cells) == 4]
    assert cells[1:3] == [f"{row.mean:.3f}", f"{row.deviation:.3f}" if len(values) > 1 else ""]
    compared = begin not in ("teacher", "student")
    assert cells[3] == (interval(paired_difference(values, alone)) if compared else "")
