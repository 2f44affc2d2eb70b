"""The ablations: every variant takes a step, on the demo's pair and on the COCO pair with small backbones."""

import copy
import functools
import re
from pathlib import Path

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.recipes import write_out_recipe
from research.ablations.__main__ import PAGE, page, trials, write_configs
from research.ablations.ablations import FOLDER, HEADER, PCKA, Ablation, distil, read_ablations, trainings, vary
from research.ablations.trials import Trial
from research.trainings.results import Missing, Places, Results
from tests.detectors import step

TEACHER = dict(teacher=dict(cfg_path="configs/demo/teacher.py"), teacher_ckpt="random")
COCO = "configs/retinanet/pcka_fpn_retinanet_x101_retinanet_r50_2x_coco.py"
ABLATIONS = read_ablations()
VARIANTS = [(table, name) for table, ablation in ABLATIONS.items() for name in ablation.demo]
FIRST = {table: next(iter(ablation.demo)) for table, ablation in ABLATIONS.items()}


def test_the_papers_tables_are_there():
    assert set(ABLATIONS) == {"averaging", "batch", "centering", "levels", "mmd", "patched", "patches", "weight"}
    readme = (FOLDER / "README.md").read_text()
    assert all(f"({table}.py)" in readme for table in ABLATIONS)


@pytest.mark.parametrize(
    "table, name",
    [
        pytest.param(table, name, id=f"{table}-{name}", marks=[] if name == FIRST[table] else pytest.mark.full)
        for table, name in VARIANTS
    ],
)
def test_a_step(table, name):
    init_default_scope("mmdet")
    config = Config.fromfile("configs/demo/student.py")
    distil(config, ABLATIONS[table].demo[name], TEACHER)
    model = build_detector(config.model).train()
    batch = demo_mm_inputs(4, [[3, 128, 128]] * 4, num_items=[3] * 4, num_classes=10)
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    assert torch.isfinite(model.parse_losses(losses)[0])
    assert any(value > 0 for key, value in losses.items() if "distill.loss" in key) != ("alone" in name)


@functools.cache
def coco_pair():
    """Student and teacher of the COCO pair, both with a ResNet-18, once for all variants."""
    detectors = []
    model = Config.fromfile(COCO).model
    for detector in (model.architecture, load_config(model.teacher.cfg_path).model):
        detector.backbone = dict(type="ResNet", depth=18)
        detector.neck.in_channels = [64, 128, 256, 512]
        detectors.append(build_detector(detector))
    return detectors


@pytest.mark.full
@pytest.mark.parametrize("table, name", [(table, name) for table in ABLATIONS for name in ABLATIONS[table].coco])
def test_a_step_of_a_variant_for_coco(table, name):
    """`tests/configs/test_zoo.py` builds the pair with its backbones."""
    init_default_scope("mmdet")
    config = Config.fromfile(COCO)
    config.auto_scale_lr = dict(base_batch_size=16)
    write_out_recipe(config.model)
    vary(config, ABLATIONS[table].coco[name])
    options = {part: config.model[part] for part in ("distiller", "balance") if part in config.model}
    model = FPNDistill(*copy.deepcopy(coco_pair()), teacher_ckpt="random", **options)
    shapes = [[3, 64, 1600]] * 4  # of the images that RCKA compares, 4 stand for those of all processes
    batch = demo_mm_inputs(4, shapes, num_items=[3] * 4)
    losses = model.train()(**model.data_preprocessor(batch, True), mode="loss")
    found = [value for key, value in losses.items() if "distill.loss" in key]
    assert all(
        value.isfinite() and (value != 0) == ("alone" not in name) for value in found
    )  # debiased ones have signs
    assert found or "alone" in name
    step(model, losses)
    for balance in model.distiller.balances.values():  # norms of the task's gradients and of the losses'
        assert balance.averages.isfinite().all() and (balance.averages[:, :2].min() > 0 or "alone" in name)


def test_tables_share_trainings():
    found = trainings(ABLATIONS)
    names = {key: name for key, (name, _) in found.items()}
    base = [
        ("averaging", "channel"),
        ("batch", "8, PCKA"),
        ("centering", "center"),
        ("levels", "2"),
        ("patches", "patches of 2 and 1"),
    ]
    assert {key for key, name in names.items() if name == "pcka"} == {*base, ("mmd", "CKA, centred")}
    assert names["batch", "8, RCKA"] == names["patches", "whole maps"] == "batch-8-rcka"
    assert names["mmd", "CKA, uncentred"] == names["centering", "none"] == "centering-none"
    assert names["weight", "10"] == "weight-10"
    assert len(set(names.values())) == len(names) - 7
    same = [options for name, options in found.values() if name == "batch-8-rcka"]
    assert same[0] == same[1]


def test_what_variants_are_compared_with():
    for ablation in ABLATIONS.values():
        assert (
            ablation.against.keys() <= ablation.demo.keys() and set(ablation.against.values()) <= ablation.demo.keys()
        )


def test_a_section():
    """Differences are to what a variant is compared with, seed by seed, and there is none to itself."""
    values = dict(plain={0: 0.30, 1: 0.32}, first={0: 0.33, 1: 0.33}, second={0: 0.36, 1: 0.34}, other={0: 0.9, 1: 0.9})
    ablation = Ablation("Question", "It says so.", {"A": {}, "B": {}}, {}, {"B": "A"}, "What differs.")
    section = ablation.section({"A": "first", "B": "second"}, values)
    assert section.startswith(f"Question:\n\n| {' | '.join(HEADER)} |\n")
    assert [line for line in section.splitlines() if line.startswith("| ")][2:] == [
        "| plain | 0.310 | 0.014 |  |  |  |",
        "| A | 0.330 | 0.000 | plain | +0.020 | -0.107 to +0.147 |",
        "| B | 0.350 | 0.014 | A | +0.020 | -0.107 to +0.147 |",
    ]
    assert section.endswith("\nIt says so. Our copy has no numbers to compare with.\n\nWhat differs.")
    alone = Ablation("", "", {}, {}, {"A": "A"}).section({"A": "first"}, values)
    assert "| A | 0.330 | 0.000 |  |  |  |" in alone
    one_seed = ablation.section({"A": "first"}, {name: {0: found[0]} for name, found in values.items()})
    assert "| A | 0.330 |  |  |  |  |" in one_seed


def test_the_page_is_of_the_results():
    assert PAGE.read_text() == page(Results(PAGE.with_name("results")))
    with pytest.raises(Missing):
        page(Results(Path("nowhere")))


@pytest.mark.parametrize("table", ABLATIONS)
def test_what_is_said_of_each_ablation(table):
    """Each number of its results is in its table."""
    (row,) = [line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith(f"| [{table}](")]
    assert f"(../../ablations/results.md#{table})" in row
    (section,) = [part for part in PAGE.read_text().split("\n## ") if part.startswith(f"{table}\n")]
    numbers = re.findall(r"\d\.\d{3}", row.split("|")[4])
    assert numbers and all(f" {number} |" in section for number in numbers)


def test_what_is_said_of_the_papers_tables():
    """Each number of a row that links to results of ablations is in them."""
    lines = [line for line in Path("research/paper.md").read_text().splitlines() if "(ablations/results.md#" in line]
    assert len(lines) == 5
    for line in lines:
        numbers = re.findall(r"\d\.\d{3}", line)
        assert numbers and [number for number in numbers if number not in PAGE.read_text()] == []


def test_the_student_alone_of_few_epochs():
    values = Results(PAGE.with_name("results")).val([trial for trial in trials() if trial.variant == "plain"])
    said = f"{sum(values) / 3:.3f}"
    assert len(values) == 3 and f"student alone {said}" in Path("research/paper.md").read_text()


def test_a_trial(digit_scenes, tmp_path):
    """Its teacher is trained first; the student alone and the teacher itself need none."""
    places = Places(tmp_path / "work", digit_scenes.parent, tmp_path / "weights.pth")
    (teacher,) = Trial("averaging-batch", 2).training(places).requires
    assert (teacher.name, teacher.config.train_cfg.max_epochs) == ("teacher_seed0", 60)
    training = Trial("averaging-batch", 2).training(places)
    assert training.config.randomness.seed == 2 and training.config.train_cfg.max_epochs == 16
    assert training.config.model.distiller.losses.pcka.average == "batch"
    assert not Trial("plain", 2).training(places).requires and not Trial("teacher", 0).training(places).requires
    assert Trial.of_row(dict(trial=dict(variant="plain", seed=2))) == Trial("plain", 2)


def test_configs_for_coco(tmp_path):
    for table in ("averaging", "mmd"):
        write_configs(table, ABLATIONS[table], tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.py")) == sorted(
        [
            *(f"averaging_{name}.py" for name in ("batch", "channel", "spatial")),
            *(f"mmd_{name}.py" for name in ("cka-centred", "cka-uncentred", "mmd-linear", "mmd-rbf")),
        ]
    )
    config = Config.fromfile(tmp_path / "mmd_mmd-rbf.py")
    assert config.model.distiller.losses.mmd.kernel == "rbf" and config.model.balance.ratio == 1.0
    assert config.model.teacher_ckpt.endswith("366f5af1.pth") and config.train_cfg.max_epochs == 24


def test_options():
    config = Config(dict(model=dict(distiller=dict(losses=dict(pcka=dict(PCKA)))), train_dataloader=dict(batch_size=2)))
    vary(config, {"pcka.patch_size": {8: 4}, "balance.ratio": 0.3, "train_dataloader.batch_size": 4})
    assert config.model.distiller.losses.pcka.patch_size == {8: 4}
    assert config.model.balance == dict(ratio=0.3) and config.train_dataloader.batch_size == 4
    vary(config, {"balance.ratio": None})
    assert config.model.balance is None
    vary(config, {"losses": dict(mmd=dict(type="pcka_mmdet.MMDLoss"))})
    assert config.model.distiller.losses == dict(mmd=dict(type="pcka_mmdet.MMDLoss"))
