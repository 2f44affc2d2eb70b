"""Figures in README.md and on other pages are those of the recorded trainings."""

import json
import re
from pathlib import Path
from statistics import fmean

import pytest

from research.trainings.intervals import written
from research.trainings.results import Results
from research.trials import Interval, Trial, paired_difference, rows
from research.verdict.choice import FILE, RESULT_PAIRS, Choice
from research.verdict.gains import DEFAULT, read
from research.verdict.methods import Setting
from research.verdict.protocol import CHOOSING_SEEDS
from research.verdict.trials import Student
from research.verdict.trials import Trial as VerdictTrial

README, CHINESE, PERFORMANCE = (
    " ".join(Path(page).read_text().split()) for page in ("README.md", "README_zh-CN.md", "docs/performance.md")
)
CLASSIFIERS = "research/configs/classification/README.md"

TABLES = {
    page: [
        [cell.strip() for cell in line.replace("*", "").strip("|").split("|")]
        for line in Path(page).read_text().splitlines()
        if line.startswith("|")
    ]
    for page in ("research/costs.md", CLASSIFIERS)
}
"""Cells of all rows of all tables."""

GAINS = read(Results(Path("research/verdict/results")).gains_file)


def interval(gain: Interval) -> str:
    return f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_other_methods_and_teachers(text):
    """On BCCD's test images: gains of the other methods, the default's lead over MGD and with another teacher."""
    methods = GAINS["bccd"].methods
    for name in ("PKD", "MGD", "PCKA"):
        value, low, high = methods[name].over_student
        assert low < 0 < high and f"{name} {value:+.3f}" in text
        assert (methods[name].default_over[1] > 0) == (name != "MGD")
    assert written(methods["MGD"].default_over) in text
    assert written(methods[f"{DEFAULT}, seed 1 of the teacher"].over_student) in text


def test_what_is_said_of_the_papers_method():
    (line,) = [line for line in Path("research/paper.md").read_text().splitlines() if "Table 3, on BCCD" in line]
    pcka = GAINS["bccd"].methods["PCKA"]
    assert written(pcka.over_student) in line and pcka.setting == "pcka-center_r0.3_two_stop0.5"


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_longer_training_of_the_student_alone(text):
    results = Results(Path("research/verdict/results"))
    for epochs in (60, 120):
        student = Student(0.048, epochs, 0.1)
        values = results.val([VerdictTrial("bccd", Setting(), seed, student) for seed in CHOOSING_SEEDS])
        assert f"{fmean(values):.3f}" in text


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
        few[f"alone_{student}_base_seed{CHOOSING_SEEDS[0]}"],
        few[f"alone_{student}_affine_seed{CHOOSING_SEEDS[0]}"],
        whole[f"plain_lr0.048_e60_wd0.1_base_seed{CHOOSING_SEEDS[0]}"],
        *(few[f"teacher_{teacher}_{augmentation}_seed0"] for augmentation in ("base", "affine")),
    ]
    *_, table = Path("docs/few-labels.md").read_text().partition("## What to expect")
    assert re.findall(r"\d\.\d{3}", table) == [f"{entry['val']:.3f}" for entry in expected]


def test_ratios():
    """What `docs/recipes.md` says of 0.3, 1 and 3."""
    page = " ".join(Path("docs/recipes.md").read_text().split())
    results, shorter = Results(Path("research/verdict/results")), Student(0.048, 30, 0.1)
    values = [
        results.val([VerdictTrial("bccd", Setting("both-heads", ratio), seed, shorter) for seed in CHOOSING_SEEDS])
        for ratio in (0.3, 1.0, 3.0)
    ]
    assert "was {:.3f}, {:.3f} and {:.3f}".format(*map(fmean, values)) in page
    assert f"BCCD {written(GAINS['bccd'].methods[DEFAULT].over_student)}, ten seeds" in page


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
    assert f"{100 * (1 - of_small['both-heads-half'] / of_small['both-heads']):.0f} % shorter" in PERFORMANCE


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
