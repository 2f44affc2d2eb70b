"""Recipes: the settings that a name stands for, and what is given beside it."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.models.recipes import CLASSIFIER_RECIPES, RECIPES, recipe_settings, write_out_recipe
from tests.detectors import build, faster_rcnn, fcos, losses_of, retinanet

HEAD, OWN, ROI = (dict(type=f"pcka_mmdet.{name}") for name in ("HeadLoss", "OwnHeadLoss", "RoIHeadLoss"))


def written_out(**settings) -> dict:
    model = ConfigDict(dict(type="pcka_mmdet.FPNDistill", architecture=retinanet(), teacher=retinanet()) | settings)
    write_out_recipe(model)
    return model.to_dict()


def test_a_name_stands_for_its_settings():
    model = written_out(recipe="both-heads", teacher_ckpt="random")
    assert model == dict(
        type="pcka_mmdet.FPNDistill",
        architecture=retinanet(),
        teacher=retinanet(),
        teacher_ckpt="random",
        distiller=dict(type="pcka_mmdet.FPNDistiller", losses=dict(head=HEAD, own=OWN)),
        balance=dict(ratio=1.0),
        teacher_precision="auto",
    )
    assert list(model["distiller"]["losses"]) == ["head", "own"]  # their order in the log
    assert written_out(recipe="maps").keys() & {"balance", "teacher_precision"} == {"balance"}
    assert not written_out(recipe="pcka-mimic").keys() & {"balance", "teacher_precision"}


def test_without_a_name_nothing_changes():
    model = written_out(distiller=dict(losses=dict(head=None)), balance=None)
    assert model["distiller"] == dict(losses=dict(head=None)) and model["balance"] is None
    assert written_out(recipe=None, balance="recipe", distiller=dict()).keys() == {
        *("type", "architecture", "teacher", "distiller")
    }


def test_a_written_out_recipe_stays():
    model = written_out(recipe="teacher-head")
    again = copy.deepcopy(model)
    write_out_recipe(again)
    assert again == model


@pytest.mark.parametrize(
    "given, part, expected",
    [
        (dict(balance=dict(ratio=0.5)), "balance", dict(ratio=0.5)),
        (dict(balance=None), "balance", None),
        (dict(balance="recipe"), "balance", dict(ratio=1.0)),
        (dict(balance=dict(ratio=dict(head=0.5))), "balance", dict(ratio=dict(head=0.5, own=1.0))),
        (dict(teacher_precision="fp32"), "teacher_precision", "fp32"),
        (dict(teacher_precision="recipe"), "teacher_precision", "auto"),
    ],
)
def test_a_setting_beside_a_name(given, part, expected):
    assert written_out(recipe="both-heads", **given)[part] == expected


@pytest.mark.parametrize(
    "recipe, losses, expected",
    [
        ("both-heads", dict(own=None), dict(head=HEAD, own=None)),
        ("both-heads", dict(head=dict(images=0.5)), dict(head=dict(HEAD, images=0.5), own=OWN)),
        ("teacher-head", dict(own=OWN), dict(head=HEAD, own=OWN)),
        ("both-heads", dict(_delete_=True, own=OWN), dict(own=OWN)),
        (
            "maps",
            dict(pcka=dict(patch_size={8: 4})),
            dict(pcka=dict(type="pcka_mmdet.PCKALoss", patch_size={8: 4}, centering="center", strides="finest")),
        ),
    ],
)
def test_a_loss_beside_a_name(recipe, losses, expected):
    assert written_out(recipe=recipe, distiller=dict(losses=losses))["distiller"]["losses"] == expected


def test_a_ratio_by_name_leaves_out_what_cannot_be_balanced():
    """A loss that is `None`, and one at the source `roi_head`."""
    losses = dict(own=None, rcka=dict(type="pcka_mmdet.RCKALoss", source="roi_head"))
    model = written_out(recipe="both-heads", distiller=dict(losses=losses), balance=dict(ratio=dict(head=0.5)))
    assert model["balance"] == dict(ratio=dict(head=0.5))


def of_heads(*teachers: dict, recipe: str = "both-heads") -> list[str]:
    return list(recipe_settings(recipe, teachers).distiller.losses)


def test_the_roi_heads_loss_is_for_teachers_that_have_one():
    assert of_heads(faster_rcnn()) == of_heads(build(faster_rcnn(stages=2))) == ["head", "own", "roi"]
    assert of_heads(faster_rcnn(), recipe="own-head") == ["own", "roi"]
    assert of_heads(retinanet()) == of_heads(build(fcos())) == of_heads(faster_rcnn(), retinanet()) == ["head", "own"]
    assert of_heads("mmdet::sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py") == ["head", "own"]  # of another kind
    assert of_heads("not_there.py") == ["head", "own"]  # whoever builds the teacher says so
    several = [dict(faster_rcnn(), ckpt="random", until=0.5), dict(faster_rcnn(), ckpt="random")]
    settings = written_out(recipe="teacher-head", teacher=None, teachers=several)
    assert settings["distiller"]["losses"] == dict(head=HEAD, roi=ROI)


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r"there is no recipe 'both': write one of \('both-heads', 'own-head'"):
        build(dict(written_out(), recipe="both"))
    with pytest.raises(ValueError, match="FPNDistill needs a recipe or a distiller"):
        build(written_out())


def test_using_a_recipe_does_not_change_it():
    before = copy.deepcopy(RECIPES)
    settings = recipe_settings("pcka-mimic", [], dict(distiller=dict(losses=dict(pcka=dict(patch_size=8)))))
    settings.distiller.losses.mimic.loss_weight = 3.0
    assert before == RECIPES
    assert not RECIPES.keys() & CLASSIFIER_RECIPES.keys()


@pytest.mark.parametrize("teacher", [retinanet, faster_rcnn])
def test_the_algorithm_reads_a_name(teacher):
    """As MMDetection's tools build it. The recipe of a two-stage teacher builds that before the student."""
    name = dict(
        type="pcka_mmdet.FPNDistill",
        architecture=retinanet(),
        teacher=teacher(),
        teacher_ckpt="random",
        recipe="teacher-head",
        balance=dict(ratio=0.5),
    )
    settings = copy.deepcopy(name)
    write_out_recipe(settings)
    states = []
    for config in (name, settings, retinanet()):
        torch.manual_seed(0)
        model = build_detector(config)
        model.init_weights()
        states.append(copy.deepcopy(getattr(model, "student", model).state_dict()))
        if config is not name:
            continue
        assert list(model.distiller.terms) == list(settings["distiller"]["losses"])
        assert {balance.ratios["all"] for balance in model.distiller.balances.values()} == {0.5}
        assert all(value.isfinite() for key, value in losses_of(model).items() if "distill.loss" in key)
    for state in states[1:]:
        assert all(torch.equal(value, states[0][key]) for key, value in state.items())


def test_a_config_that_inherits_from_one_with_a_recipe(tmp_path):
    base = Path("configs/demo/distilled.py").resolve()
    losses = "_delete_=True, pcka=dict(type='pcka_mmdet.PCKALoss')"
    (tmp_path / "maps.py").write_text(
        f"_base_ = {str(base)!r}\nmodel = dict(distiller=dict(losses=dict({losses})), balance=None)\n"
    )
    model = Config.fromfile(tmp_path / "maps.py").model
    write_out_recipe(model)
    assert model.distiller == dict(type="pcka_mmdet.FPNDistiller", losses=dict(pcka=dict(type="pcka_mmdet.PCKALoss")))
    assert (model.balance, model.teacher_precision) == (None, "auto")
