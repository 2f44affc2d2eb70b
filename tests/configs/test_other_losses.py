"""Configs for COCO of the paper's other losses: DIST, and RCKA on the logits of a RoI head."""

from pathlib import Path

import pytest
from mmengine.config import Config

from pcka_mmdet.models.recipes import write_out_recipe
from tests.detectors import build, raw_batch, step

CONFIGS = sorted(path for kind in ("dist", "rcka") for path in Path("configs").glob(f"*/{kind}*_coco.py"))
DIST = dict(type="mmrazor.DISTLoss", tau=1.0)


@pytest.mark.full  # their teachers are ResNeXt-101
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_step_of_each_config(path):
    config = Config.fromfile(path).model
    config.update(teacher_ckpt="random", teacher=dict(config.teacher, backbone=dict(init_cfg=None)))
    config.architecture.backbone.init_cfg = None
    model = build(config)
    losses = model.train()(**model.data_preprocessor(raw_batch((64, 128)), True), mode="loss")
    found = {key: value for key, value in losses.items() if key.startswith("distill.loss")}
    assert found and all(value > 0 for value in found.values())
    step(model, losses)


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.name.startswith("dist_")], ids=lambda path: path.parent.name
)
def test_table_3_has_configs(path):
    pcka, dist, both = (
        Config.fromfile(path.with_name(path.name.replace("dist_", f"{name}_", 1)))
        for name in ("pcka", "dist", "dist-mimic")
    )
    source = "roi_head" if path.parent.name == "faster_rcnn" else "head"
    assert dist.model.recipe is None
    assert dist.model.distiller.losses == dict(dist=dict(DIST, source=source))
    assert both.model.distiller.losses == dict(dist.model.distiller.losses, mimic=both.model.distiller.losses.mimic)
    for config in (pcka, dist, both):
        write_out_recipe(config.model)
        config.model.pop("distiller")
    assert pcka.to_dict() == dist.to_dict() == both.to_dict()
