"""The ablations: every variant takes a step, on the demo's pair and on the COCO pair with small backbones."""

import copy
import functools

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.recipes import write_out_recipe
from research.ablations.ablations import FOLDER, HEADER, PCKA, Ablation, Variant, read_ablations, trainings, vary
from research.trials import Trial
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
    variant = Variant(variations=ABLATIONS[table].demo[name])
    config = variant.apply(Config.fromfile("configs/demo/student.py"), 1.0, TEACHER)
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
    configs = {name: variant.identity for name, variant in found.values()}
    assert len(set(configs.values())) == len(configs)


def test_what_variants_are_compared_with():
    for ablation in ABLATIONS.values():
        assert (
            ablation.against.keys() <= ablation.demo.keys() and set(ablation.against.values()) <= ablation.demo.keys()
        )


def test_results():
    """Differences are to what a variant is compared with, seed by seed, and there is none to itself."""
    values = dict(plain=(0.30, 0.32), first=(0.33, 0.33), second=(0.36, 0.34), other=(0.9, 0.9))
    trials = [
        Trial("short", method, 1.0, seed, value, None, 1.0)
        for method, found in values.items()
        for seed, value in enumerate(found)
    ]
    ablation = Ablation("Question", "It says so.", {"A": {}, "B": {}}, {}, {"B": "A"}, "What differs.")
    lines = ablation.results({"A": "first", "B": "second"}, trials)
    assert lines == [
        ["plain", "0.310", "0.014", "", "", ""],
        ["A", "0.330", "0.000", "plain", "+0.020", "-0.107 to +0.147"],
        ["B", "0.350", "0.014", "A", "+0.020", "-0.107 to +0.147"],
    ]
    assert Ablation("", "", {}, {}, {"A": "A"}).results({"A": "first"}, trials)[1] == [
        "A",
        "0.330",
        "0.000",
        "",
        "",
        "",
    ]
    assert ablation.results({"A": "first"}, trials[::2])[1] == ["A", "0.330", "", "", "", ""]
    page = ablation.page(lines, 16, 2, "python tool.py")
    assert page.startswith("# Question\n\nAP on val of the demo's digits after 16 epochs, 2 seeds: `python tool.py`. ")
    assert f"| {' | '.join(HEADER)} |\n" in page and "| B | 0.350 | 0.014 | A | +0.020 |" in page
    assert page.endswith("\n\nIt says so. Our copy has no numbers to compare with.\n\nWhat differs.\n")
    assert "after 16 epochs, 1 seed: " in ablation.page(lines, 16, 1, "")


def test_options():
    config = Config(dict(model=dict(distiller=dict(losses=dict(pcka=dict(PCKA)))), train_dataloader=dict(batch_size=2)))
    vary(config, {"pcka.patch_size": {8: 4}, "balance.ratio": 0.3, "train_dataloader.batch_size": 4})
    assert config.model.distiller.losses.pcka.patch_size == {8: 4}
    assert config.model.balance == dict(ratio=0.3) and config.train_dataloader.batch_size == 4
    vary(config, {"balance.ratio": None})
    assert config.model.balance is None
    vary(config, {"losses": dict(mmd=dict(type="pcka_mmdet.MMDLoss"))})
    assert config.model.distiller.losses == dict(mmd=dict(type="pcka_mmdet.MMDLoss"))
