"""The pair of research/configs/bccd/: buildable without network or data, comparable, and trainable on a batch."""

import copy
import json
from collections import Counter

import pytest
import torch
from mmdet.registry import DATASETS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.complexity import complexity
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.schedule import training_iterations
from pcka_mmdet.demo.config import move_data_root
from research import CONFIGS
from research.data.bccd import CLASSES, DESCRIPTION
from tests.processes import ROOT

DATA = ROOT / ".." / "shared" / "data" / "bccd"
WEIGHTS = ROOT / ".." / "shared" / "weights" / "mobilenet_v2_imagenet.pth"
SPLITS = {"train": 205, "val": 87, "test": 72}
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="BCCD is not in ../shared/data/bccd")
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="no ../shared/weights/mobilenet_v2_imagenet.pth")


def config(method: str) -> Config:
    init_default_scope("mmdet")
    return Config.fromfile(CONFIGS / "bccd" / f"{method}.py")


def model(method: str) -> torch.nn.Module:
    """With random weights, for there is no network to get others from.

    `init_weights` sets them all: DINO's constructor leaves its level embeddings as memory happened to be.
    """
    settings = config(method).model
    if method.endswith("teacher"):
        settings.backbone.init_cfg = None
    elif method == "distilled":
        settings.teacher_ckpt = "random"
    built = build_detector(settings)
    built.init_weights()
    return built


PAIRS = ("small", "two_families", "two_stage", "rtmdet", "yolox", "dino", "deformable")


@pytest.mark.parametrize(
    "method",
    [
        *("teacher", "student", "distilled", "fcos/student"),
        *(f"{pair}/{side}" for pair in PAIRS for side in ("teacher", "student")),
    ],
)
def test_a_training_step(method):
    trained = model(method).train()
    batch = demo_mm_inputs(2, [[3, 240, 320]] * 2, num_items=[3, 3], num_classes=len(CLASSES))
    total, log = trained.parse_losses(trained(**trained.data_preprocessor(batch, True), mode="loss"))
    total.backward()
    assert torch.isfinite(total)
    if method == "distilled":
        assert log["distill.loss_head"] > 0
        assert trained.distiller.balances["head"].averages[:, :2].min() > 0


def test_the_student_costs_at_most_a_third_of_the_teacher():
    student, teacher = (complexity(config(method).model, 256, 320)["flops"] for method in ("student", "teacher"))
    assert student <= teacher / 3


def test_teacher_and_student_meet_at_every_level():
    student, teacher = model("student").eval(), model("teacher").eval()
    images = torch.zeros(1, 3, 256, 320)
    sizes = [[level.shape[2:] for level in detector.extract_feat(images)] for detector in (student, teacher)]
    assert sizes[0] == sizes[1] == [(32, 40), (16, 20), (8, 10), (4, 5)]
    strides = [(stride, stride) for stride in (8, 16, 32, 64)]
    assert student.bbox_head.prior_generator.strides == teacher.bbox_head.prior_generator.strides == strides


def test_student_and_distilled_differ_in_the_distillation_alone():
    student, distilled = config("student").to_dict(), config("distilled").to_dict()
    assert distilled["model"]["architecture"] == student["model"]
    changed = {key for key in distilled if distilled[key] != student.get(key)}
    assert changed == {"model", "log_processor"}


def test_the_teacher_of_the_distillation_is_the_last_of_its_training():
    teacher, distilled = config("teacher"), config("distilled")
    assert distilled.model.teacher_ckpt == f"work_dirs/bccd/teacher/epoch_{teacher.train_cfg.max_epochs}.pth"
    assert teacher.param_scheduler[0].total_steps == teacher.train_cfg.max_epochs


@needs_weights
def test_the_teachers_weights_fit():
    """A key that differed would leave its weight random in silence."""
    given = torch.load(WEIGHTS, weights_only=True)["state_dict"]
    expected = model("teacher").backbone.state_dict()
    assert {key: value.shape for key, value in given.items()} == {key: value.shape for key, value in expected.items()}


@needs_data
def test_the_annotations_are_as_the_configs_say():
    for split, size in SPLITS.items():
        content = json.loads((DATA / f"{split}.json").read_text())
        assert content["info"]["description"] == DESCRIPTION
        assert len(content["images"]) == size
        assert tuple(category["name"] for category in content["categories"]) == CLASSES
        assert {(image["width"], image["height"]) for image in content["images"]} == {(640, 480)}
        assert all((DATA / "images" / image["file_name"]).is_file() for image in content["images"])
        assert Counter(a["category_id"] for a in content["annotations"]).keys() == {1, 2, 3}


@needs_data
def test_photographs_reach_the_student():
    settings = config("student")
    move_data_root(settings, str(DATA))
    assert training_iterations(settings) == 26 * settings.max_epochs
    train, test = (DATASETS.build(copy.deepcopy(settings[f"{s}_dataloader"].dataset)) for s in ("train", "test"))
    assert len(train) == 205 and len(test) == 72
    item = train[0]
    assert item["inputs"].shape == (3, 240, 320) and len(item["data_samples"].gt_instances) > 0
    item = test[0]
    assert item["data_samples"].scale_factor == (0.5, 0.5) and item["data_samples"].ori_shape == (480, 640)
