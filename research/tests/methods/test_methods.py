"""The methods of the comparison: each builds on the demo's pair and takes a step."""

import json
import statistics
from pathlib import Path

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.engine.recipe import suitable_recipe
from pcka_mmdet.models.recipes import RECIPES
from research import RESULTS, pair_folder
from research.methods.data_sets import DATA_SETS
from research.methods.methods import HALF_MORE, LONGER, LOSSES, METHODS, MIDDLE, PLAIN, Method

TEACHER = dict(teacher=dict(cfg_path="configs/demo/teacher.py"), teacher_ckpt="random")


def student() -> Config:
    init_default_scope("mmdet")
    return Config.fromfile("configs/demo/student.py")


@pytest.mark.parametrize("name", [PLAIN, *LOSSES, "heads-pcka+balance", "heads-backbone+balance", "bf16-heads+balance"])
def test_a_step(name):
    config = METHODS[name].apply(student(), 1.0, TEACHER)
    model = build_detector(config.model).train()
    batch = demo_mm_inputs(2, [[3, 160, 160]] * 2, num_items=[3, 3], num_classes=10)
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    assert torch.isfinite(model.parse_losses(losses)[0])
    assert bool([key for key in losses if "distill" in key and losses[key] > 0]) == (name != PLAIN)


def test_constant_weights_and_ratios():
    for name, method in METHODS.items():
        plain, config = student(), method.apply(student(), 0.1, TEACHER)
        assert config.pop("custom_hooks", []) == list(method.hooks)
        if not method.losses:
            assert config.to_dict() == plain.to_dict() and method.settings == (1.0,)
            continue
        assert len(method.settings) == (1 if method.fixed else 4) and config.model.architecture == plain.model
        assert config.model.get("teacher_precision") == ("bf16" if name == "bf16-heads+balance" else None)
        weights = {key: loss.loss_weight for key, loss in config.model.distiller.losses.items()}
        published = {key: loss["loss_weight"] for key, loss in method.losses.items()}
        if method.balanced:
            ratio = dict(own=0.1, head=0.1, pcka=0.2 * 0.1) if {"own", "pcka"} <= weights.keys() else 0.1
            assert config.model.balance == dict(ratio=ratio) and weights == published
        else:
            assert "balance" not in config.model
            assert weights == pytest.approx({key: 0.1 * weight for key, weight in published.items()})


def test_hooks_are_added_to_the_configs():
    config = student()
    config.custom_hooks = [dict(type="CheckInvalidLossHook")]
    hooks = Method(hooks=(dict(type="EMAHook"),)).apply(config, 1.0, TEACHER).custom_hooks
    assert [hook.type for hook in hooks] == ["CheckInvalidLossHook", "EMAHook"] and len(config.custom_hooks) == 1


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_have_both_configs(name):
    data_set = DATA_SETS[name]
    for side in ("student", "teacher"):
        config = Config.fromfile(pair_folder(data_set.folder) / f"{side}.py")
        assert config.data_root.rstrip("/").endswith(f"/{data_set.data}")
    assert data_set.num_epochs("short", PLAIN) < data_set.num_epochs("converged", PLAIN)


def test_methods_fit_the_pairs():
    """The head losses of a two-stage pair ask the RoI head too; heads of two families have no outputs in common."""
    pair = DATA_SETS["bccd-two-stage"]
    config = METHODS["own-head+balance"].apply(Config.fromfile(pair_folder(pair.folder) / "student.py"), 1.0, TEACHER)
    assert list(config.model.distiller.losses) == ["own", "roi"]
    config = METHODS["pkd"].apply(Config.fromfile(pair_folder(pair.folder) / "student.py"), 1.0, TEACHER)
    assert list(config.model.distiller.losses) == ["pkd"]
    names = [PLAIN, "own-head", "teacher-head+balance", "both-heads+balance"]
    assert DATA_SETS["bccd-two-families"].fitting(names) == [PLAIN, "teacher-head+balance"]
    assert pair.fitting(names) == names


def test_pkd_is_dists_relation_on_maps():
    """As research/benchmark.md says: 1 - Pearson correlation of each channel over all positions of the batch."""
    maps = [torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    rows = [m.transpose(0, 1).flatten(1) for m in maps]
    correlations = [torch.corrcoef(torch.stack([own, other]))[0, 1] for own, other in zip(*rows, strict=True)]
    found = MODELS.build(dict(type="mmrazor.PKDLoss"))((maps[0],), (maps[1],))
    torch.testing.assert_close(found, 1 - sum(correlations) / 3, rtol=1e-2, atol=0)  # PKD's variance is of n - 1


def test_the_longer_student_trains_for_the_distilled_runs_time():
    digits = DATA_SETS["digits"]
    assert [digits.num_epochs("short", method) for method in (PLAIN, "own-head", LONGER)] == [16, 16, 32]
    assert digits.num_epochs("converged", HALF_MORE) == 135


@pytest.mark.parametrize("name", [path.stem for path in Path("research/results/methods").glob("*.json")])
def test_the_longer_student_has_the_time_that_was_measured(name):
    """By the seconds of the recorded trainings with the same seeds, rounded up to a half."""
    pair = DATA_SETS[name]
    trials = [entry["trial"] for entry in json.loads((RESULTS / "methods" / f"{name}.json").read_text()).values()]
    seconds = [
        {t["seed"]: t["seconds"] for t in trials if (t["regime"], t["method"]) == ("converged", method)}
        for method in (pair.recipe, PLAIN)
    ]
    common = seconds[0].keys() & seconds[1].keys()
    if not common:
        pytest.skip("no distilled student was trained yet")
    distilled, alone = (statistics.fmean(of_seed[seed] for seed in common) for of_seed in seconds)
    assert pair.longer - 0.6 < distilled / alone < pair.longer + 0.1  # they ran beside other trainings


@pytest.mark.parametrize("name", sorted(DATA_SETS.keys() - {"bccd-two-families"}))  # it came before `predictions`
def test_the_recipe_is_the_one_that_train_py_chooses(name):
    """Its losses are the recipe's, but for the RoI head's, at a ratio that is the same for every pair."""
    pair = DATA_SETS[name]
    student, teacher = (Config.fromfile(pair_folder(pair.folder) / f"{side}.py") for side in ("student", "teacher"))
    recipe, _ = suitable_recipe(build_detector(student.model), build_detector(teacher.model))
    assert pair.recipe == f"{recipe}+balance" and MIDDLE in METHODS[pair.recipe].settings
    losses = {name: dict(loss, loss_weight=1.0) for name, loss in RECIPES[recipe]["distiller"]["losses"].items()}
    assert METHODS[pair.recipe].losses == {name: loss for name, loss in losses.items() if name != "roi"}
    assert RECIPES[recipe]["balance"] == dict(ratio=MIDDLE)
