"""The configs of research/configs/demo: the losses of the demo's pair, with patches and without."""

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector, model_config
from research import CONFIGS


@pytest.mark.parametrize("name, terms", [("patches", ["pcka_s8", "pcka_s16"]), ("whole_maps", ["rcka_s8", "rcka_s16"])])
def test_the_losses(name, terms):
    init_default_scope("mmdet")
    config, student = Config.fromfile(CONFIGS / "demo" / f"{name}.py"), Config.fromfile("configs/demo/student.py")
    assert config.model.architecture == student.model and config.train_cfg.val_interval == 1
    config.model.teacher_ckpt = "random"
    model = build_detector(config.model)
    assert [term.key for term in model.distiller.all_terms] == terms
    assert {name: balance.ratios for name, balance in model.distiller.balances.items()} == {"neck": dict(all=1.0)}


@pytest.mark.parametrize(
    "name, terms",
    [
        ("theorem", [f"{loss}_s{stride}" for loss in ("pcka", "mmd") for stride in (8, 16)]),
        ("paper/distilled", [f"{loss}_s{stride}" for loss in ("pcka", "mimic") for stride in (8, 16, 32, 64)]),
    ],
)
def test_constant_weights(name, terms):
    """The student and the teacher are the demo's."""
    init_default_scope("mmdet")
    config, student = Config.fromfile(CONFIGS / "demo" / f"{name}.py"), Config.fromfile("configs/demo/student.py")
    assert config.model.architecture == student.model
    teacher, config.model.teacher_ckpt = model_config(config.model.teacher), "random"
    assert teacher.backbone == Config.fromfile("configs/demo/teacher.py").model.backbone
    assert [term.key for term in build_detector(config.model).distiller.all_terms] == terms
