"""The paper's pairs of classifiers with backbones of this folder: each builds, takes a step, and predicts."""

from pathlib import Path

import pytest
from mmengine.config import Config

from tests.classifiers import a_step_and_a_prediction, build

from .test_backbones import CIFAR

pytest.importorskip("mmpretrain", reason="MMPretrain is not in this environment: make classification")

FOLDER = Path("research/configs/classification")
CONFIGS = sorted(FOLDER.glob("cifar100/*.py")) + sorted(FOLDER.glob("imagenet/*.py"))
QUICK = ("resnet20_cifar100", "rcka_vgg13_vgg8_cifar100", "pcka_resnet110_resnet20_cifar100")
"""One of each kind; the others are in `make test-full`."""


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=[] if p.stem in QUICK else pytest.mark.full) for p in CONFIGS]
)
def test_each_config(path):
    a_step_and_a_prediction(path)


PAIRS = {
    "resnet110_resnet20", "resnet110_resnet32", "wrn-40-2_wrn-40-1", "wrn-40-2_wrn-16-2", "resnet32x4_resnet8x4",
    "vgg13_vgg8", "wrn-40-2_shufflenet-v1", "resnet32x4_shufflenet-v1", "vgg13_mobilenet-v2",
}  # fmt: skip


def test_the_papers_pairs_are_there():
    names = {path.stem for path in CONFIGS}
    assert {f"rcka_{pair}_cifar100" for pair in PAIRS} <= names
    assert "rcka_resnet50_mobilenet-v1_8xb32_in1k" in names


def alone(name: str) -> Path:
    return FOLDER / f"cifar100/{name}_cifar100.py"


@pytest.mark.parametrize("name", CIFAR)
def test_the_benchmarks_models_have_configs(name):
    *_, parameters = CIFAR[name]
    model = build(alone(name.lower().replace("netv", "net-v")))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("path", [p for p in CONFIGS if p.stem.count("_") == 3 and "cifar100" in p.parts], ids=str)
def test_a_pair_is_what_its_name_says(path):
    teacher, student = (alone(name) for name in path.stem.split("_")[1:3])
    config = Config.fromfile(path)
    assert Path(config.model.teacher.cfg_path).samefile(teacher)
    assert config.model.teacher_ckpt == f"work_dirs/{teacher.stem}/epoch_240.pth"
    plain = Config.fromfile(student)
    assert plain.train_cfg.max_epochs == config.train_cfg.max_epochs == 240
    if "cfg_path" in config.model.architecture:  # a variant of it, with the maps of more stages
        assert Path(config.model.architecture.cfg_path).samefile(student)
    else:
        assert config.model.architecture == plain.model
