"""The ablations: every variant takes a step on the demo's pair, and its losses for COCO build."""

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.experiments.ablations import FOLDER, PCKA, Variant, read_ablations, trainings, vary

TEACHER = dict(teacher=dict(cfg_path="configs/demo/teacher.py"), teacher_ckpt="random")
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


@pytest.mark.full
@pytest.mark.parametrize("table, name", [(table, name) for table in ABLATIONS for name in ABLATIONS[table].coco])
def test_a_variant_for_coco_builds(table, name):
    """The losses; `tests/configs/test_zoo.py` builds the pair."""
    init_default_scope("mmdet")
    losses = Config.fromfile(
        "configs/retinanet/pcka_fpn_retinanet_x101_retinanet_r50_2x_coco.py"
    ).model.distiller.losses
    config = Variant(losses=losses.to_dict(), balanced=False).apply(
        Config.fromfile("configs/demo/student.py"), 1.0, TEACHER
    )
    config.auto_scale_lr = dict(base_batch_size=16)
    vary(config, ABLATIONS[table].coco[name])
    assert build_detector(config.model).distiller.terms


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


def test_options():
    config = Config(dict(model=dict(distiller=dict(losses=dict(pcka=dict(PCKA)))), train_dataloader=dict(batch_size=2)))
    vary(config, {"pcka.patch_size": {8: 4}, "balance.ratio": 0.3, "train_dataloader.batch_size": 4})
    assert config.model.distiller.losses.pcka.patch_size == {8: 4}
    assert config.model.balance == dict(ratio=0.3) and config.train_dataloader.batch_size == 4
    vary(config, {"balance.ratio": None})
    assert config.model.balance is None
    vary(config, {"losses": dict(mmd=dict(type="pcka_mmdet.MMDLoss"))})
    assert config.model.distiller.losses == dict(mmd=dict(type="pcka_mmdet.MMDLoss"))
