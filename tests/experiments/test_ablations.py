"""The ablations: every variant builds and takes a step on the demo's pair, and writes a config for COCO."""

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.experiments.ablations import FOLDER, PCKA, Ablation, Variant, vary

TEACHER = dict(teacher=dict(cfg_path="configs/demo/teacher.py"), teacher_ckpt="random")
ABLATIONS = {path.stem: Ablation.read(path) for path in sorted(FOLDER.glob("*.py"))}
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
    variant = Variant(options=ABLATIONS[table].demo[name])
    config = variant.apply(Config.fromfile("configs/demo/student.py"), 1.0, TEACHER)
    model = build_detector(config.model).train()
    batch = demo_mm_inputs(4, [[3, 128, 128]] * 4, num_items=[3] * 4, num_classes=10)
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    assert torch.isfinite(model.parse_losses(losses)[0])
    assert any(value > 0 for key, value in losses.items() if "distill.loss" in key) != ("plain" in name)


def test_a_variant_that_varies_nothing():
    assert Variant().is_base and Variant(options={"pcka.average": "channel"}).is_base
    assert not Variant(options={"pcka.average": "batch"}).is_base
    assert not Variant(options={"losses": {}}).is_base


def test_options():
    config = Config(dict(model=dict(distiller=dict(losses=dict(pcka=dict(PCKA)))), train_dataloader=dict(batch_size=2)))
    vary(config, {"pcka.patch_size": {8: 4}, "balance.ratio": 0.3, "train_dataloader.batch_size": 4})
    assert config.model.distiller.losses.pcka.patch_size == {8: 4}
    assert config.model.balance == dict(ratio=0.3) and config.train_dataloader.batch_size == 4
    vary(config, {"losses": dict(mmd=dict(type="pcka_mmdet.MMDLoss"))})
    assert config.model.distiller.losses == dict(mmd=dict(type="pcka_mmdet.MMDLoss"))
