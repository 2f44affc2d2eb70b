"""Settings of the command line, merged into the config of a distillation by a recipe."""

import pytest
from mmengine.config import Config

from pcka_mmdet.engine.cfg_options import merge_options
from pcka_mmdet.models.recipes import RECIPES
from tests.detectors import faster_rcnn, retinanet


@pytest.fixture
def merged():
    """The model of a distillation with options."""

    def merge(options: dict, **settings) -> dict:
        model = dict(type="pcka_mmdet.FPNDistill", architecture=retinanet(), teacher=retinanet(), recipe="both-heads")
        config = Config(dict(model=model | settings))
        merge_options(config, options)
        return config.model

    return merge


def test_a_recipe_is_written_out(merged):
    assert "recipe" not in merged({}) and merged({}).balance == dict(ratio=1.0)
    maps = merged({"model.recipe": "maps", "model.balance.ratio": 0.3})
    assert maps.distiller == RECIPES["maps"]["distiller"] and maps.balance == dict(ratio=0.3)
    assert list(merged({"model.recipe": "pcka"}, recipe=None).distiller.losses) == ["pcka"]


def test_the_recipe_is_that_of_the_options_teacher(merged):
    path = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
    model = merged({"model.teacher": path})
    assert model.teacher == dict(cfg_path=path) and list(model.distiller.losses) == ["head", "own", "roi"]


SIDES = [("", "architecture"), ("architecture.", "architecture"), ("teacher.", "teacher")]


@pytest.mark.parametrize("key, side", SIDES)
def test_an_option_names_a_part_of_a_detector_that_a_file_defines(merged, key, side):
    path = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
    model = merged({f"model.{key}bbox_head.num_classes": 3}, **{side: path})
    assert model[side] == dict(cfg_path=path, bbox_head=dict(num_classes=3))
    model = merged({f"model.{key}bbox_head.num_classes": 3, f"model.{side}": path})
    assert model[side] == dict(cfg_path=path, bbox_head=dict(num_classes=3))


def test_an_option_names_a_part_of_the_recipe(merged):
    options = {"model.distiller.losses.own": None, "model.distiller.losses.head.images": 0.5}
    losses = merged(options | {"model.teacher_precision": "fp32"})
    assert losses.distiller.losses == dict(own=None, head=dict(type="pcka_mmdet.HeadLoss", images=0.5))
    assert losses.teacher_precision == "fp32"
    with pytest.raises(ValueError, match="did you mean 'model.distiller.losses.head.images'"):
        merged({"losses.heads.images": 0.5})
    assert merged({"model.balance": None}).balance is None


@pytest.mark.parametrize(
    "options, ratio",
    [
        ({"model.balance.ratio.head": 0.5}, dict(head=0.5, own=1.0)),
        ({"model.balance.ratio.head": 0.5, "model.balance.ratio.own": 2.0}, dict(head=0.5, own=2.0)),
        ({"model.balance.ratio": 0.3, "model.balance.ratio.head": 0.5}, dict(head=0.5, own=0.3)),
        ({"model.balance.ratio.head": 0.5, "model.distiller.losses.own": None}, dict(head=0.5)),
        ({"model.balance.ratio.head": 0.5, "model.balance": None}, dict(head=0.5)),
    ],
)
def test_a_ratio_by_name_over_a_number(merged, options, ratio):
    assert merged(options).balance == dict(ratio=ratio)


def test_a_ratio_by_name_leaves_the_other_options_of_the_balance(merged):
    balance = merged({"model.balance.ratio.head": 0.5}, balance=dict(ratio=1.0, by_output=True)).balance
    assert balance == dict(ratio=dict(head=0.5, own=1.0), by_output=True)


def test_a_ratio_by_name_over_ratios_by_name(merged):
    assert merged({"model.balance.ratio.head": 0.5}, balance=dict(ratio=dict(own=2.0))).balance.ratio == dict(
        head=0.5, own=2.0
    )


def test_a_recipe_over_losses(merged):
    with pytest.raises(ValueError, match="model.recipe=maps: the losses of this config are written out"):
        merged({"model.recipe": "maps"}, recipe=None, distiller=RECIPES["pcka"]["distiller"])
    with pytest.raises(ValueError, match="there is no recipe 'heads': write one of"):
        merged({"model.recipe": "heads"})
    with pytest.raises(ValueError, match=r"there is no setting 'recipe': did you mean 'model.recipe'"):
        merged({"recipe": "maps"})


def test_a_misspelt_recipe_setting(merged):
    with pytest.raises(ValueError, match=r"there is no setting 'model.recipes': did you mean 'model.recipe'"):
        merged({"model.recipes": "maps"}, teacher=faster_rcnn())
