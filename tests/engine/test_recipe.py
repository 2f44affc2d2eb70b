"""A distillation config from any detector's config."""

import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.config_text import read_config
from pcka_mmdet.checkpoints.student import student_config
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.engine.cfg_options import apply_common
from pcka_mmdet.engine.recipe import distillation_config, suitable_recipe
from pcka_mmdet.models.losses.prediction_loss import problem_of_teacher
from pcka_mmdet.models.losses.query_loss import problem_of_queries
from pcka_mmdet.models.recipes import RECIPES, write_out_recipe
from pcka_mmdet.models.teacher.images import Normalisation
from tests.detectors import atss, build, faster_rcnn, fcos, reppoints, retinanet, rtmdet, yolox
from tests.detr import deformable_detr

STUDENT, TEACHER = (
    "mmdet::yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py",
    "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
)

PAPERS = ("pcka", "pcka-mimic")


@pytest.fixture
def made(tmp_path):
    """A config as it is kept in the work directory and read again."""

    def make(recipe):
        config, choice = distillation_config(STUDENT, TEACHER, "teacher.pth", recipe)
        assert choice == f"recipe {recipe}: as given"
        config.dump(tmp_path / config.filename)
        return Config.fromfile(tmp_path / config.filename)

    return make


@pytest.mark.parametrize("recipe", RECIPES)
def test_only_the_model_and_the_log_change(made, recipe):
    student, config = load_config(STUDENT).to_dict(), made(recipe).to_dict()
    changed = {k for k in config.keys() | student.keys() if config.get(k) != student.get(k)}
    assert changed == {"model", "log_processor"}
    assert config["log_processor"] == {**student["log_processor"], "type": "pcka_mmdet.LevelLogProcessor"}
    model = config["model"]
    assert model["architecture"] == {**student["model"], "_scope_": "mmdet"}
    assert config["find_unused_parameters"] is True  # in YOLOv3's config
    assert model["teacher"] == dict(cfg_path=TEACHER) and model["teacher_ckpt"] == "teacher.pth"


@pytest.mark.parametrize("recipe", PAPERS)
def test_the_papers_recipes_are_the_zoos(made, recipe):
    losses = made(recipe).model.distiller.losses
    assert set(losses) == ({"pcka"} if recipe == "pcka" else {"pcka", "mimic"})
    zoo = Config.fromfile("configs/retinanet/pcka-mimic_fpn_retinanet_x101_retinanet_r50_2x_coco.py")
    write_out_recipe(zoo.model)
    expected = zoo.model.distiller.losses
    del expected.pcka["strides"]  # a user's student may have different levels
    assert losses == {name: expected[name] for name in losses}


@pytest.mark.parametrize(
    "recipe, losses, ratio, precision",
    [
        (
            "both-heads",
            dict(head=dict(type="pcka_mmdet.HeadLoss"), own=dict(type="pcka_mmdet.OwnHeadLoss")),
            1.0,
            "auto",
        ),
        ("own-head", dict(own=dict(type="pcka_mmdet.OwnHeadLoss")), 1.0, "auto"),
        ("teacher-head", dict(head=dict(type="pcka_mmdet.HeadLoss")), 1.0, "auto"),
        (
            "maps",
            dict(pcka=dict(type="pcka_mmdet.PCKALoss", patch_size="auto", centering="center", strides="finest")),
            0.03,
            None,
        ),
    ],
)
def test_our_recipes_are_balanced(made, recipe, losses, ratio, precision):
    config = made(recipe)
    assert config.model.distiller.losses == losses
    assert config.model.balance == dict(ratio=ratio)
    assert config.model.get("teacher_precision") == precision


RETINANET = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"


DINO = "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py"

DDQ = "mmdet::ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py"
DOUBLE_HEAD = "mmdet::double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py"

QUERIES = "works on queries, which have no levels to pair$"
"""Only the reason: an error would advise a loss that the recipe does not have."""


def retinanet_of_large_anchors() -> dict:
    config = retinanet()
    config["bbox_head"]["anchor_generator"]["octave_base_scale"] = 8
    return config


@pytest.mark.parametrize(
    "student, teacher, choice",
    [
        (retinanet, retinanet, "both-heads both dense heads have the same classes, anchors and box coder"),
        (faster_rcnn, faster_rcnn, "both-heads both dense heads"),
        (retinanet, fcos, "predictions .*since their heads code boxes in different ways .RetinaHead and FCOSHead."),
        (retinanet, faster_rcnn, "predictions .*since their heads score 2 and 1 classes"),
        (retinanet, atss, "predictions .*since only the teacher's head scores the quality of boxes"),
        (atss, retinanet, "both-heads both dense heads"),
        (reppoints, retinanet, "teacher-head .*since what a RepPointsHead is to predict is not known"),
        (retinanet_of_large_anchors, retinanet, "predictions .*since their heads have different anchors"),
        (rtmdet, rtmdet, "teacher-head .*since equal norms at the outputs of a RTMDetHead are far from equal at the"),
        (yolox, yolox, "teacher-head .*since equal norms at the outputs of a YOLOXHead"),
    ],
)
def test_the_pair_chooses_the_recipe(student, teacher, choice):
    chosen = " ".join(suitable_recipe(build(student()), build(teacher())))
    assert re.match(choice, chosen), chosen


@pytest.mark.parametrize(
    "student, teacher, choice, losses",
    [
        (STUDENT, TEACHER, "teacher-head: .*since the outputs of YOLOV3Head are not known, only those", ["head"]),
        (RETINANET, "mmdet::sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py", "teacher-head: .* RoI head", ["head"]),
        (RETINANET, "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", "predictions: ", ["boxes"]),
        ("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", RETINANET, "predictions: ", ["boxes", "proposals"]),
        (
            "configs/demo/student.py",
            RETINANET,
            "maps: the student's classes are 0, 1, 2, 3, 4, ..., the teacher's person, .*",
            ["pcka"],
        ),
        (RETINANET, "mmdet::tood/tood_r50_fpn_1x_coco.py", "maps: the outputs of TOODHead are not known", ["pcka"]),
        (
            RETINANET,
            "mmdet::detr/detr_r50_8xb2-150e_coco.py",
            "maps: the teacher, a DETR, scores classes by a softmax$",
            ["pcka"],
        ),
        (DINO, RETINANET, f"predictions: .* since the head of DINO {QUERIES}", ["boxes"]),
        (DINO, DINO, "queries: both are a DINO", ["queries"]),
        (DDQ, DDQ, "maps: ", ["pcka"]),
        (RETINANET, DDQ, "predictions: ", ["boxes"]),
        (
            DOUBLE_HEAD,
            RETINANET,
            "predictions: the student's RPN learns the teacher's boxes, and its RoI head",
            ["boxes"],
        ),
    ],
)
def test_configs_of_pairs(student, teacher, choice, losses):
    config, chosen = distillation_config(student, teacher, "teacher.pth")
    assert re.match(f"recipe {choice}", chosen), chosen
    assert list(config.model.distiller.losses) == losses
    assert chosen.startswith(f"recipe {config.filename.partition('_')[0]}: ")


def test_a_teachers_config_of_other_classes_than_its_weights(tmp_path):
    """Else the recipe would be `maps`, since the student has 10 classes and the teacher 80."""
    teacher, file = RETINANET, str(tmp_path / "teacher.pth")
    torch.save(build_detector(dict(cfg_path=teacher, bbox_head=dict(num_classes=10))).state_dict(), file)
    said = "config has 80 classes, and its weights '.*teacher.pth' have 10: .*head.num_classes=10, .* --recipe maps"
    for recipe in (None, "teacher-head"):
        with pytest.raises(ValueError, match=said):
            distillation_config("configs/demo/student.py", teacher, file, recipe)
    assert distillation_config("configs/demo/student.py", teacher, file, "maps")[1] == "recipe maps: as given"
    options = {"model.teacher.bbox_head.num_classes": 10}
    assert "recipe maps" not in distillation_config("configs/demo/student.py", teacher, file, options=options)[1]


@pytest.fixture
def cells(tmp_path):
    """The config of a teacher of three classes."""
    path = tmp_path / "cells.py"
    head = "model = dict(bbox_head=dict(num_classes=3))"
    data = 'train_dataloader = dict(dataset=dict(metainfo=dict(classes=("RBC", "WBC", "Platelets"))))'
    path.write_text(f"_base_ = {RETINANET!r}\n{head}\n{data}\n")
    return str(path)


COMMON = "the student's classes are RBC, WBC, cat, the teacher's RBC, WBC, Platelets; the common ones are RBC, WBC"


def test_classes_of_equal_number_and_other_names(cells):
    options = {"model.bbox_head.num_classes": 3, "train_dataloader.dataset.metainfo.classes": ("RBC", "WBC", "cat")}
    config, choice = distillation_config(RETINANET, cells, "teacher.pth", options=options)
    assert choice == f"recipe predictions: the student's head learns the teacher's boxes; {COMMON}"
    assert config.model.architecture.bbox_head.num_classes == 3
    assert config.model.distiller.losses.boxes.classes == [(0, 0), (1, 1)]


def test_classes_in_another_order(cells):
    names = ("WBC", "Platelets", "RBC")
    options = {"model.bbox_head.num_classes": 3, "train_dataloader.dataset.metainfo.classes": names}
    for recipe in (None, "predictions"):
        config, choice = distillation_config(RETINANET, cells, "teacher.pth", recipe, options)
        assert choice.endswith("; the common ones are WBC, Platelets, RBC")
        assert config.model.distiller.losses.boxes.classes == [(0, 1), (1, 2), (2, 0)]
    for recipe in ("both-heads", "own-head"):
        with pytest.raises(
            ValueError, match=f"{recipe} compares the first class of both sides.* WBC, Platelets, RBC, "
        ):
            distillation_config(RETINANET, cells, "teacher.pth", recipe, options)


def test_labels_are_numbered_by_the_annotation_files(cells, tmp_path):
    """MMDetection numbers them in the order of `categories`, whatever the order in `metainfo`."""
    for name, order in (("one", "WBC RBC Platelets"), ("two", "RBC WBC Platelets")):
        categories = [dict(id=number, name=word) for number, word in enumerate(order.split())]
        (tmp_path / f"{name}.json").write_text(json.dumps(dict(images=[], annotations=[], categories=categories)))

    def found(of_student, names):
        options = {"model.bbox_head.num_classes": 3, "train_dataloader.dataset.metainfo.classes": names}
        options["train_dataloader.dataset.ann_file"] = str(tmp_path / f"{of_student}.json")
        return distillation_config(RETINANET, str(teacher), "teacher.pth", options=options)

    teacher = tmp_path / "teacher.py"
    file = f"train_dataloader = dict(dataset=dict(ann_file={str(tmp_path / 'one.json')!r}))"
    teacher.write_text(f"_base_ = {cells!r}\n{file}\n")
    assert found("one", ("Platelets", "WBC", "RBC"))[1].startswith("recipe both-heads")
    config, _ = found("two", ("RBC", "WBC", "Platelets"))
    assert config.model.distiller.losses.boxes.classes == [(0, 1), (1, 0), (2, 2)]


def test_no_common_class(cells):
    options = {"model.bbox_head.num_classes": 1, "train_dataloader.dataset.metainfo.classes": ("cat",)}
    choice = distillation_config(RETINANET, cells, "teacher.pth", options=options)[1]
    assert choice == "recipe maps: the student's classes are cat, the teacher's RBC, WBC, Platelets"
    with pytest.raises(ValueError, match="--recipe predictions compares common classes, and there are none: the stud"):
        distillation_config(RETINANET, cells, "teacher.pth", "predictions", options)
    options["model.bbox_head.num_classes"] = 3
    options["train_dataloader.dataset.metainfo.classes"] = ("cat", "dog", "cow")
    with pytest.raises(ValueError, match="both-heads compares the first class of both .*: write --recipe maps, which "):
        distillation_config(RETINANET, cells, "teacher.pth", "both-heads", options)


def test_classes_of_joined_data_sets(cells):
    part = dict(type="CocoDataset", ann_file="a.json", metainfo=dict(classes=("RBC", "WBC", "cat")))
    options = {
        "model.bbox_head.num_classes": 3,
        "train_dataloader.dataset": dict(type="ConcatDataset", datasets=[part]),
    }
    choice = distillation_config(RETINANET, cells, "teacher.pth", options=options)[1]
    assert choice == f"recipe predictions: the student's head learns the teacher's boxes; {COMMON}"


def test_a_teachers_classes_in_a_file_of_another_machine(tmp_path):
    path = tmp_path / "teacher.py"
    classes = 'train_dataloader = dict(dataset=dict(metainfo=dict(_delete_=True, classes="/elsewhere/classes.txt")))'
    path.write_text(f"_base_ = {RETINANET!r}\n{classes}\n")
    assert distillation_config(RETINANET, str(path), "teacher.pth")[1].startswith("recipe both-heads")


def test_norms_that_need_connected_processes():
    """MMDetection's strong baselines have them."""
    norm = dict(type="MMSyncBN", requires_grad=True)
    options = {"model.neck.norm_cfg": norm, "model.teacher.neck.norm_cfg": norm}
    config, choice = distillation_config(RETINANET, RETINANET, "teacher.pth", options=options)
    assert choice.startswith("recipe both-heads")
    assert config.model.architecture.neck.norm_cfg.type == config.model.teacher.neck.norm_cfg.type == "MMSyncBN"
    assert build_detector(config.model.teacher, plain_norms=True).neck.lateral_convs[0].norm_name == "bn"


def test_a_student_without_neck():
    student = dict(retinanet(), neck=None)
    chosen = suitable_recipe(build_detector(student), build(retinanet()))
    assert chosen == ("maps", "the student has no neck, so maps of the backbones are compared")


C4 = "mmdet::faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py"


@pytest.mark.parametrize("sides", [(C4, RETINANET), (RETINANET, C4)], ids=["student", "teacher"])
def test_a_pair_of_which_one_has_no_neck(sides):
    config, choice = distillation_config(*sides, "random")
    assert choice.startswith("recipe maps: the ") and "has no neck" in choice
    config.merge_from_dict({f"model.{side}.backbone.init_cfg": None for side in ("architecture", "teacher")})
    assert [term.key for term in build_detector(config.model).distiller.terms["pcka"]] == ["pcka_s16"]


def test_names_of_classes_that_the_head_does_not_have():
    """The teacher's config names COCO's, and its head was trained for three classes."""
    options = {"model.bbox_head.num_classes": 3, "train_dataloader.dataset.metainfo.classes": ("RBC", "WBC", "cat")}
    options["model.teacher.bbox_head.num_classes"] = 3
    assert distillation_config(RETINANET, RETINANET, "teacher.pth", options=options)[1].startswith("recipe both-heads")


@pytest.mark.parametrize("key", ["model.bbox_head", "model.architecture.bbox_head"])
def test_options_of_the_detectors_count_in_the_choice(key):
    options = {f"{key}.num_classes": 10, "model.teacher.bbox_head.num_classes": 10, "model.balance.ratio": 0.5}
    config, choice = distillation_config(RETINANET, RETINANET, "teacher.pth", options=options)
    assert choice.startswith("recipe both-heads: ")
    assert config.model.architecture.bbox_head.num_classes == config.model.teacher.bbox_head.num_classes == 10
    assert config.model.balance.ratio == 1.0  # merged later, as all options are


@pytest.mark.parametrize(
    "option, right", [("train_cgf.max_epochs", "train_cfg.max_epochs"), ("model.balanse.ratio", "model.balance.ratio")]
)
def test_an_option_that_is_misspelt(option, right):
    with pytest.raises(ValueError, match=f"there is no setting {option!r}: did you mean {right!r}?"):
        distillation_config(RETINANET, RETINANET, "teacher.pth", options={option: 2})


def test_its_name_says_recipe_teacher_and_student():
    config, _ = distillation_config(STUDENT, TEACHER, "teacher.pth")
    assert config.filename == "teacher-head_rtmdet_tiny_8xb32-300e_coco_yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py"


@pytest.mark.parametrize("detector, name", [(retinanet, "nms"), (faster_rcnn, "RoIAlign")], ids=["nms", "RoIAlign"])
def test_python_style_configs(detector, name, tmp_path):
    """MMEngine writes `mmcv.ops.nms` for the function, which mmcv does not know by that name."""
    text = str(detector())
    assert f"'type': '{name}'" in text
    path = tmp_path / "student.py"
    text = text.replace(f"'type': '{name}'", f"'type': {name}")
    path.write_text(f"from mmcv.ops import {name}\n\ndefault_scope = 'mmdet'\nmodel = {text}\n")
    assert f"mmcv.ops.{name}" in str(Config.fromfile(path).to_dict())
    config, choice = distillation_config(str(path), str(path), "random")
    assert choice.startswith("recipe both-heads: ")
    for written in (config, student_config(config), read_config(student_config(config).pretty_text)):
        assert "mmcv.ops" not in written.pretty_text and f"type='{name}'" in written.pretty_text
        build_detector(written.model.get("architecture", written.model))


def test_pretrained_layers_of_a_python_style_config_stay(tmp_path):
    """MMEngine knows `PretrainedInit` as `Pretrained`; by another name it initialises layers after loading them."""
    student = retinanet()
    student["backbone"] = dict(type="MobileNetV2", widen_factor=0.1, out_indices=(2, 4, 6))
    student["neck"].update(in_channels=[8, 16, 32], start_level=0)
    weights = build_detector(student).backbone.state_dict()
    torch.save({key: torch.full_like(value, 2) for key, value in weights.items()}, tmp_path / "backbone.pth")
    student["backbone"]["init_cfg"] = dict(type="INIT", checkpoint=str(tmp_path / "backbone.pth"))
    path, text = tmp_path / "student.py", str(student).replace("'INIT'", "PretrainedInit")
    path.write_text(f"from mmengine.model import PretrainedInit\n\ndefault_scope = 'mmdet'\nmodel = {text}\n")
    config, _ = distillation_config(str(path), str(path), "random")
    model = build_detector(config.model)
    model.init_weights()
    assert all((value == 2).all() for value in model.student.backbone.state_dict().values())


def test_a_detector_inside_another_model(tmp_path):
    Config(dict(model=dict(type="SoftTeacher", detector=retinanet()))).dump(tmp_path / "semi.py")
    semi = str(tmp_path / "semi.py")
    for pair in ((semi, TEACHER), (STUDENT, semi)):
        with pytest.raises(
            ValueError, match="semi.py' is the config of a SoftTeacher, which holds a detector, model.d"
        ):
            distillation_config(*pair, "teacher.pth")


def test_a_config_out_of_a_work_directory(tmp_path):
    """It says where it ran, and from what it went on."""
    written = Config.fromfile("configs/demo/student.py")
    written.merge_from_dict(dict(work_dir="work_dirs/student", resume=True, load_from="epoch_3.pth", launcher="none"))
    written.dump(tmp_path / "student.py")
    config, _ = distillation_config(str(tmp_path / "student.py"), "configs/demo/teacher.py", "random")
    assert not {"work_dir", "launcher"} & config.keys() and (config.resume, config.load_from) == (False, None)
    apply_common(config, {}, None)
    assert config.work_dir == "work_dirs/both-heads_teacher_student"


def test_configs_that_do_not_do(tmp_path):
    (tmp_path / "data.py").write_text("data_root = 'data/'")
    with pytest.raises(ValueError, match=r"the config '.*data.py' defines no `model`: give the config of a detector"):
        distillation_config(str(tmp_path / "data.py"), TEACHER, "teacher.pth")
    with pytest.raises(ValueError, match="is the config of a distillation already: train it without --teacher"):
        distillation_config("configs/demo/distilled.py", TEACHER, "teacher.pth")
    with pytest.raises(FileNotFoundError, match="no config file at 'none.py'"):
        distillation_config(STUDENT, "none.py", "teacher.pth")


def test_the_students_own_preprocessor_wins_over_the_configs(tmp_path):
    """As in plain training, where the one at the top is a default; the exported student says the same."""
    path = tmp_path / "student.py"
    path.write_text(
        f"model = {retinanet()}\n"
        "data_preprocessor = dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3)\n"
        "default_scope = 'mmdet'\n"
    )
    config, _ = distillation_config(str(path), "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", "random")
    config.work_dir = str(tmp_path)
    model = Runner.from_cfg(config).model
    assert Normalisation.of(model.data_preprocessor).mean == (120.0, 115.0, 105.0)
    assert student_config(config).model.data_preprocessor.mean == [120.0, 115.0, 105.0]
    del config.model.architecture["data_preprocessor"]
    assert student_config(config).model.data_preprocessor.mean == [0.0] * 3
    model = Runner.from_cfg(Config(dict(config, experiment_name="default"))).model
    assert Normalisation.of(model.data_preprocessor).mean == (0.0, 0.0, 0.0)


def test_detectors_that_read_a_text():
    detector = build(deformable_detr())
    detector.language_model = torch.nn.Identity()
    said = "a DeformableDETR, scores words of a text"
    assert suitable_recipe(build(retinanet()), detector).recipe == "maps"
    assert problem_of_queries(detector, detector) == f"the student, {said}"
    assert problem_of_teacher(detector) == f"the teacher, {said}"
