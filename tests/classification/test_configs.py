"""Every config of a classifier: built, a step with a gradient in every parameter of the student, and a prediction."""

from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.engine.recipe import suitable_recipe
from pcka_mmdet.models import FPNDistill
from tests.models.classifiers.test_backbones import CIFAR

pytest.importorskip("mmpretrain", reason="MMPretrain is not in this environment: make classification")

CONFIGS = sorted(path for path in Path("configs/classification").glob("*/*.py") if "_base_" not in path.parts)


def batch(side: int, classes: int) -> dict:
    from mmpretrain.structures import DataSample

    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(256, (3, side, side), generator=generator, dtype=torch.uint8) for _ in range(4)]
    samples = [DataSample(metainfo=dict(img_shape=(side, side))).set_gt_label(i % classes) for i in range(4)]
    return dict(inputs=inputs, data_samples=samples)


def build(path: Path) -> torch.nn.Module:
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    config = Config.fromfile(path)
    if is_distillation(config):
        config.model.teacher_ckpt = "random"
    return build_detector(config.model)


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.name.startswith(("rcka", "pcka")) and "_in1k" in path.name]
)
def test_weights_of_imagenets_teachers_are_mmpretrains(path):
    """The fork has the same files on another host."""
    import mmpretrain

    model = Config.fromfile(path).model
    config = Path("configs") / model.teacher.cfg_path.removeprefix("mmpretrain::")
    files = (Path(mmpretrain.__file__).parent / ".mim" / config.parent).glob("metafile.yml")
    (entry,) = [e for file in files for e in yaml.safe_load(file.read_text())["Models"] if e["Config"] == str(config)]
    ours, theirs = (url.partition("/mmclassification/")[2] for url in (model.teacher_ckpt, entry["Weights"]))
    assert ours == theirs != ""


@pytest.mark.full
def test_the_map_of_a_transformer_is_its_tokens_without_the_class_token():
    path = next(path for path in CONFIGS if "deit" in path.name)
    init_default_scope("mmpretrain")
    vit = build_detector(Config.fromfile(path).model.teacher).eval().backbone
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (maps,) = vit(images)
        vit.out_type = "raw"
        (tokens,) = vit(images)
    assert tokens.shape[1] == 1 + 14 * 14
    torch.testing.assert_close(maps, tokens[:, 1:].unflatten(1, (14, 14)).permute(0, 3, 1, 2))


QUICK = (
    *("resnet20_cifar100", "rcka_vgg13_vgg8_cifar100", "pcka_resnet110_resnet20_cifar100"),
    "pcka_deit-small_resnet18_8xb32_in1k",
)
"""One of each kind; the others are in `make test-full`."""


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=[] if p.stem in QUICK else pytest.mark.full) for p in CONFIGS]
)
def test_each_config(path):
    a_step_and_a_prediction(path)


def a_step_and_a_prediction(path):
    """Build a config: a step reaches every parameter of the student, and a prediction has its classes."""
    model = build(path)
    student = model.student if isinstance(model, FPNDistill) else model
    classes = student.head.num_classes
    data = batch(224 if "imagenet" in path.parts else 32, classes)
    losses = model.train()(**model.data_preprocessor(data, True), mode="loss")
    total, log = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert [name for name, p in student.named_parameters() if p.grad is None or not p.grad.any()] == []
    if student is not model:
        assert all(log[f"distill.loss_{key}"] > 0 for key in model.distiller.losses)
        assert all(p.grad is None for p in model.teacher.parameters())
    data = batch(data["inputs"][0].shape[1], classes)
    with torch.no_grad():
        first = model.eval()(**model.data_preprocessor(data, False), mode="predict")[0]
    assert first.pred_score.shape == (classes,)


PAIRS = {
    "resnet110_resnet20", "resnet110_resnet32", "wrn-40-2_wrn-40-1", "wrn-40-2_wrn-16-2", "resnet32x4_resnet8x4",
    "vgg13_vgg8", "wrn-40-2_shufflenet-v1", "resnet32x4_shufflenet-v1", "vgg13_mobilenet-v2",
}  # fmt: skip


def test_the_papers_pairs_are_there():
    names = {path.stem for path in CONFIGS}
    assert {f"rcka_{pair}_cifar100" for pair in PAIRS} <= names
    assert {"rcka_resnet34_resnet18_8xb32_in1k", "rcka_resnet50_mobilenet-v1_8xb32_in1k"} <= names


def alone(name: str) -> Path:
    return Path(f"configs/classification/cifar100/{name}_cifar100.py")


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


def test_no_recipe_is_for_classifiers():
    student = Config.fromfile("configs/classification/cifar100/resnet20_cifar100.py")
    init_default_scope("mmpretrain")
    with pytest.raises(ValueError, match="the student, a ImageClassifier, is a classifier.*configs/classification"):
        suitable_recipe(build_detector(student.model), build_detector(student.model))


@pytest.mark.full
def test_teacher_and_student_have_normalisations_of_their_own():
    """MMPretrain's configs keep the preprocessor beside the model; both sides get theirs."""
    model = build(Path("configs/classification/imagenet/rcka_resnet34_resnet18_8xb32_in1k.py"))
    for normalisation in (model._teacher.normalisation, model._normalisation):
        assert normalisation.mean == pytest.approx((123.675, 116.28, 103.53)) and normalisation.swaps_channels
