"""Every config of a classifier: built, a step with a gradient in every parameter of the student, and a prediction."""

from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.engine.recipe import suitable_recipe
from tests.classifiers import a_step_and_a_prediction, build

pytest.importorskip("mmpretrain", reason="MMPretrain is not in this environment: make classification")

CONFIGS = sorted(Path("configs/classification").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_config(path):
    a_step_and_a_prediction(path)


def test_no_recipe_is_for_classifiers():
    student = Config.fromfile(CONFIGS[-1]).model.architecture
    init_default_scope("mmpretrain")
    with pytest.raises(ValueError, match="the student, a ImageClassifier, is a classifier.*configs/classification"):
        suitable_recipe(build_detector(student), build_detector(student))


@pytest.mark.full
def test_teacher_and_student_have_normalisations_of_their_own():
    """MMPretrain's configs keep the preprocessor beside the model; both sides get theirs."""
    model = build(Path("configs/classification/rcka_resnet34_resnet18_8xb32_in1k.py"))
    for normalisation in (model._teacher.normalisation, model._normalisation):
        assert normalisation.mean == pytest.approx((123.675, 116.28, 103.53)) and normalisation.swaps_channels
