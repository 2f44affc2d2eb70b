"""Figures in README.md and on other pages are those of the recorded trainings."""

import json
import re
from pathlib import Path
from statistics import fmean

import pytest

from research.methods.data_sets import DATA_SETS
from research.methods.methods import HALF_MORE, HEADS_HALF_MORE, LONGER, PLAIN
from research.trainings.results import Results
from research.trials import Interval, Row, Trial, paired_difference, rows
from research.verdict.choice import FILE, RESULT_PAIRS, Choice
from research.verdict.methods import Setting
from research.verdict.protocol import CHOOSING_SEEDS
from research.verdict.trials import Student
from research.verdict.trials import Trial as VerdictTrial

FIRST_PAGES = ("README.md", "README_zh-CN.md")
README, CHINESE, BENCHMARK, PERFORMANCE = (
    " ".join(Path(page).read_text().split())
    for page in ("README.md", "README_zh-CN.md", "research/benchmark.md", "docs/performance.md")
)
CLASSIFIERS = "research/configs/classification/README.md"

TABLES = {
    page: [
        [cell.strip() for cell in line.replace("*", "").strip("|").split("|")]
        for line in Path(page).read_text().splitlines()
        if line.startswith("|")
    ]
    for page in (*FIRST_PAGES, "research/benchmark.md", "research/costs.md", CLASSIFIERS)
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


EXPECTED = [
    ("bccd", "bf16-heads+balance"),
    ("deeppcb", "bf16-heads+balance"),
    ("digits", DATA_SETS["digits"].recipe),
    ("bccd-equal", DATA_SETS["bccd-equal"].recipe),
]
"""Data set and method of each row of the table on the first pages."""


@pytest.mark.parametrize("page", FIRST_PAGES)
@pytest.mark.parametrize("row", range(len(EXPECTED)))
def test_what_to_expect(page, row):
    name, method = EXPECTED[row]
    cells = [cells for cells in TABLES[page] if len(cells) == 5][2:][row]
    plain, distilled = found(name, "test", (PLAIN, 1.0), (method, 1.0), seeds_of=method)
    assert plain.values.keys() == distilled.values.keys()
    assert re.search(rf"{len(distilled.values)} (seeds|个种子)$", cells[0])
    (teacher,) = (trial.test for trial in trials(name) if trial.method == "teacher")
    assert cells[1:4] == [f"{value:.3f}" for value in (teacher, plain.mean, distilled.mean)]
    assert cells[4] == difference(distilled)


@pytest.mark.parametrize("page", FIRST_PAGES)
def test_the_limits_name_the_tuned_student(page):
    """Mean AP on val of the tuned student alone and of the default, over the seeds of the results."""
    (limits,) = re.findall(r"\n\*\*(?:Limits|局限).+?\n\n", Path(page).read_text(), flags=re.DOTALL)
    results = json.loads(Path("research/verdict/results/bccd.json").read_text())
    means = [
        fmean(
            results[VerdictTrial("bccd", setting, seed, Student(0.048, epochs, 0.1)).name]["val"] for seed in range(10)
        )
        for setting, epochs in ((Setting(), 60), (Setting("both-heads"), 120))
    ]
    assert re.findall(r"\d\.\d+", limits) == [f"{value:.3f}" for value in means]


@pytest.mark.parametrize("pair", RESULT_PAIRS)
def test_the_teacher_is_ahead_of_the_tuned_student(pair):
    """By 0.04 on val: else there is little to learn."""
    results, student = Results(Path("research/verdict/results")), Choice.read(FILE).students[pair]
    alone = results.val([VerdictTrial(pair, Setting(), seed, student) for seed in CHOOSING_SEEDS])
    (teacher,) = results.val([VerdictTrial.of_teacher(pair)])
    assert teacher >= fmean(alone) + 0.04


def test_few_labels():
    """The student alone as with all labels and tuned, alone with all labels, and the teachers."""
    few = json.loads(Path("research/few_labels/results/bccd-25.json").read_text())
    whole = json.loads(Path("research/verdict/results/bccd.json").read_text())
    student, teacher = "lr0.048_e240_wd0.1", "lr0.001_e160_wd0.01"
    expected = [
        few[f"alone_{student}_base_seed{CHOOSING_SEED}"],
        few[f"alone_{student}_affine_seed{CHOOSING_SEED}"],
        whole[f"plain_lr0.048_e60_wd0.1_base_seed{CHOOSING_SEED}"],
        *(few[f"teacher_{teacher}_{augmentation}_seed0"] for augmentation in ("base", "affine")),
    ]
    *_, table = Path("docs/few-labels.md").read_text().partition("## What to expect")
    assert re.findall(r"\d\.\d{3}", table) == [f"{entry['val']:.3f}" for entry in expected]


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_the_student_alone_for_as_long(text):
    longer = {name: paired(name, "test", LONGER) for name in ("bccd", "deeppcb", "digits")}
    assert interval(paired_difference(*longer["bccd"])) in text
    for name in ("deeppcb", "digits"):
        (seed,) = longer[name][0]
        assert f"{longer[name][0][seed] - longer[name][1][seed]:+.3f}" in text


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
@pytest.mark.parametrize("name", ["bccd-imagenet", "bccd-two-stage"])
def test_other_pairs(text, name):
    _, row = found(name, "test", (PLAIN, 1.0), (DATA_SETS[name].recipe, 1.0))
    assert row.difference.low < 0 and len(row.values) == 3  # "none clear", "three seeds each"
    assert re.search(rf"\{row.difference.mean:+.3f}(?! \()", text)


def test_no_other_method_gained_clearly():
    """ "None of nine", on BCCD's test images."""
    others = [label for label in BCCD if label.endswith(", 0.1") or label == "mimic, ratio 0.1"]
    assert len(others) == 9 and "none of nine" in README and "九种方法" in CHINESE
    assert all(found("bccd", "test", BCCD[label])[0].difference.low < 0 for label in others)


def paired(name: str, split: str, method: str) -> tuple[dict[int, float], dict[int, float]]:
    """AP of a method and of the student alone, by the method's seeds."""
    plain, row = found(name, split, (PLAIN, 1.0), (method, 1.0))
    return row.values, {seed: plain.values[seed] for seed in row.values}


def test_ratios():
    """What `docs/recipes.md` says of 0.3, 1 and 3, with one seed in the short regime."""
    page = " ".join(Path("docs/recipes.md").read_text().split())
    for name, text in ("bccd", "was {}, {} and {} on BCCD"), ("deeppcb", "and {}, {} and {} on DeepPCB"):
        values = {
            trial.setting: trial.val
            for trial in trials(name)
            if (trial.method, trial.regime, trial.seed) == ("both-heads+balance", "short", CHOOSING_SEED)
        }
        assert text.format(*(f"{values[ratio]:.3f}" for ratio in (0.3, 1.0, 3.0))) in page


def test_the_student_alone_with_three_seeds():
    (cells,) = [cells for cells in TABLES["research/benchmark.md"] if cells[0].startswith("the same, seeds 0 to 2")]
    val, test = (found("bccd", split, (PLAIN, 1.0), seeds_of="pkd+balance")[0] for split in ("val", "test"))
    assert cells[1:] == ["3", mean(val), "", mean(test), ""]


@pytest.mark.parametrize("begin", BCCD)
def test_each_method_on_bccd(begin):
    """The first table of results in research/benchmark.md."""
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
    assert interval(paired_difference(default.values, other.values)) in BENCHMARK


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


COSTS = {
    "cost": {
        "L2": "l2",
        "PKD": "pkd",
        "channel-wise": "channel-wise",
        "MGD": "mgd",
        "PCKA, uncentred": "pcka-none",
        "PCKA, centred": "pcka-center",
        "PCKA, debiased": "pcka-debias",
        "RCKA on maps": "rcka",
        "MMD": "mmd",
        "MMD with an RBF kernel": "mmd-rbf",
        "DIST on class logits": "dist",
        "`own-head`": "own-head",
        "`teacher-head`": "teacher-head",
        "`both-heads`, the default": "both-heads",
        "so, half of the images": "both-heads-half",
        "`predictions`": "predictions",
        "so, and L2 on the finest level": "predictions-finest",
    },
    "cost_two_stage": {
        "L2": "l2",
        "PKD": "pkd",
        "PCKA, centred": "pcka-center",
        "RCKA on the class logits of proposals": "rcka-roi",
        "own head": "own-head",
        "teacher's head": "teacher-head",
        "`RoIHeadLoss`": "roi-head",
        "`both-heads`, with `RoIHeadLoss`": "both-heads-roi",
        "`predictions`": "predictions",
        "so, and refined boxes for the RoI head": "predictions-proposals",
    },
    "cost_detr": {
        "L2": "l2",
        "`queries`": "queries",
        "so, with 30 general queries": "general-queries",
        "so, with the encoder's memory": "queries-memory",
        "`predictions` on the decoder": "decoder-predictions",
    },
}
"""Methods of a file of costs by the label of their row."""


def steps(name: str) -> dict[str, float]:
    """A step of each method over the student's, as measured on a pair."""
    seconds = json.loads(Path(f"research/results/{name}.json").read_text())["seconds"]
    return {method: value / seconds["plain"] for method, value in seconds.items()}


def rows_of_costs(width: int) -> list[list[str]]:
    """Rows of `research/costs.md` of a label, a step and a third cell, from tables with so many columns."""
    tables = [cells for cells in TABLES["research/costs.md"] if len(cells) == width]
    found = [row[start : start + 3] for row in tables for start in range(0, width, 3)]
    return sorted(row for row in found if re.fullmatch(r"\d\.\d\d", row[1]))


def test_the_cost_of_every_method():
    """The tables have these rows and no others."""
    rows = []
    for name, methods in COSTS.items():
        memory, ratios = json.loads(Path(f"research/results/{name}.json").read_text())["memory"], steps(name)
        for label, method in methods.items():
            rows.append([label, f"{ratios[method]:.2f}", f"{(memory[method] - memory['plain']) / 1e6:.1f}"])
    assert rows_of_costs(6) == sorted(rows)


def test_the_cost_of_losses_on_patches():
    ratios, rows = steps("cost"), []
    for label, method in {
        "L2": "razor-l2",
        "KL divergence": "razor-kl",
        "attention transfer": "razor-attention",
        "DIST": "razor-dist",
        "channel-wise": "razor-channels",
    }.items():
        patched = ratios.get(f"{method}-patched")
        rows.append([label, f"{ratios[method]:.2f}", f"{patched:.2f}" if patched else ""])
    assert rows_of_costs(3) == sorted(rows)


def test_the_steps_that_the_costs_are_over():
    seconds = json.loads(Path("research/results/cost.json").read_text())["seconds"]
    page = " ".join(Path("research/costs.md").read_text().split())
    assert f"A step is over the student's, {1000 * seconds['plain']:.0f} ms" in page
    assert f"the maps of the unchanged teacher would take {1000 * seconds['teacher']:.0f} ms" in page


def test_the_hosts_own_work():
    added = json.loads(Path("research/results/host.json").read_text())["added"]
    for label, key in (("Python's calls", "calls"), ("torch's operators", "operators")):
        (cells,) = [cells[1:] for cells in TABLES["research/costs.md"] if cells[0] == label]
        shares = [
            (f"{case[key]['now']:,.0f}", f"{case[key]['ratio']:.0%}".replace("%", " %")) for case in added.values()
        ]
        assert [cell.removesuffix(" of before").split(", ") for cell in cells] == [list(share) for share in shares]


def test_what_is_said_of_classifiers():
    results = json.loads(Path("research/results/classification.json").read_text())
    (line,) = [line for line in Path("research/paper.md").read_text().splitlines() if "on small digits" in line]
    for label, training in {
        "student": "student_seed{}",
        "RCKA": "rcka_seed{}",
        "features alone": "rcka_seed{}_loss_weight=0_class_weight=0",
        "logits alone": "rcka_seed{}_loss_weight=0",
        "DIST": "dist_seed{}",
        "PCKA": "pcka_seed{}",
    }.items():
        values = [results[training.format(seed)]["top1_test"] for seed in range(5)]
        assert f"{label} {sum(values) / 5:.3f}" in line


def test_what_a_step_costs():
    small, small32, stages, stages32 = (
        f"{steps(name)[method]:.1f}"
        for name, method in [
            ("cost", "both-heads"),
            ("cost_fp32", "both-heads"),
            ("cost_two_stage", "both-heads-roi"),
            ("cost_two_stage_fp32", "both-heads-roi"),
        ]
    )
    assert f"takes {small} times the student's with the teacher in bfloat16, and {small32} times in float32" in README
    assert f"it takes {stages} and {stages32} times" in README
    for number in (small, small32, stages, stages32):
        assert f"{number} 倍" in CHINESE or f"{number} 与" in CHINESE
    assert f"| {small}; {small32} |" in PERFORMANCE and f"| {stages}; {stages32} |" in PERFORMANCE
    assert f"{small} in place of {small32} times" in PERFORMANCE
    of_small = steps("cost")
    assert f"{of_small['own-head']:.1f} times |" in PERFORMANCE
    saved = f"{100 * (1 - of_small['both-heads-half'] / of_small['both-heads']):.0f} % shorter"
    assert saved in PERFORMANCE and f"on BCCD's small pair it is {saved}" in BENCHMARK


def test_the_costs_in_float32():
    page = " ".join(Path("research/costs.md").read_text().split())
    small, stages = steps("cost_fp32"), steps("cost_two_stage_fp32")
    assert (
        f"`own-head` takes {small['own-head']:.2f}, `teacher-head` {small['teacher-head']:.2f}, "
        f"`both-heads` {small['both-heads']:.2f}, on half of the images {small['both-heads-half']:.2f}, "
        f"`predictions` {small['predictions']:.2f}"
    ) in page
    assert (
        f"`own-head` takes {stages['own-head']:.2f}, `both-heads` {stages['both-heads-roi']:.2f}, "
        f"`predictions` {stages['predictions']:.2f}"
    ) in page


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
