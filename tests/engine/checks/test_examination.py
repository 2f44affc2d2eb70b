"""What the doctor finds."""

import json
import re
import shutil
import sys
import types
from importlib.metadata import distribution
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import Dataset

from pcka_mmdet.configuration.detector import build_detector, model_config
from pcka_mmdet.demo.config import move_data_root
from pcka_mmdet.engine.checks import ERROR, OK, WARNING, Finding, examination, installation
from pcka_mmdet.engine.checks.examination import PARTS, examine
from pcka_mmdet.engine.checks.image_files import check_images
from pcka_mmdet.engine.checks.installation import examine_installation
from pcka_mmdet.engine.training import TrainingOptions
from pcka_mmdet.models import FPNDistill


@pytest.fixture
def config(digit_scenes, tmp_path):
    """The demo's distillation, with a teacher of random weights in a file."""
    config = Config.fromfile("configs/demo/distilled.py")
    move_data_root(config, str(digit_scenes))
    config.work_dir, config.launcher, config.log_level = str(tmp_path / "work"), "none", "ERROR"
    config.train_dataloader.batch_size = 2
    config.model.teacher_ckpt = str(tmp_path / "teacher.pth")
    torch.save(dict(state_dict=build_detector(config.model.teacher).state_dict()), config.model.teacher_ckpt)
    return config


@pytest.fixture
def no_step(monkeypatch):
    """Spare the step where a test looks at something else."""
    monkeypatch.setattr(examination, "_examine_step", lambda *_: [Finding(OK, "a step", "")])


@pytest.fixture(autouse=True)
def one_step(monkeypatch):
    """Measure one step."""
    monkeypatch.setattr(examination, "STEPS", 1)


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


def test_an_installation(monkeypatch):
    found = by_subject(examine_installation())
    assert {finding.level for finding in found.values()} == {OK}
    assert found["torch"].text == f"torch {torch.__version__}"
    monkeypatch.setattr(installation, "find_spec", lambda name: None if name == "mmdet" else name)
    found = by_subject(examine_installation())
    assert found["mmdet"].level == ERROR and "it is not installed: pip install mmdet==3.3.0" in found["mmdet"].text


def test_the_configs_that_come_along(monkeypatch, tmp_path):
    copied = distribution("pcka_mmdet").locate_file("pcka_mmdet/.mim")
    found = by_subject(examine_installation())["configs of pcka_mmdet"]
    assert found.level == OK and ("MIM does not find them by name" in found.text) != Path(copied).is_dir()
    monkeypatch.setattr(installation, "carried", lambda name: tmp_path / name)
    found = by_subject(examine_installation())["configs of pcka_mmdet"]
    assert found.level == ERROR and found.text == "the configs are missing: install the package again"


def test_a_real_pkg_resources_in_the_environment_of_a_clone(monkeypatch):
    """The clone's folder has the package's name."""
    module = types.ModuleType("pkg_resources")
    module.__file__, module.__path__ = "/home/me/pcka_mmdet/.venv/pkg_resources/__init__.py", []
    monkeypatch.setitem(sys.modules, "pkg_resources", module)
    monkeypatch.setattr("mmengine.utils.get_installed_path", lambda name: "the folder of mmdet")
    assert installation._find_configs_of_mmdet() == "the folder of mmdet"


def test_an_mmcv_without_compiled_operators(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv.ops", None)
    found = by_subject(examine_installation())["operators of mmcv"]
    assert found.level == ERROR and "mmcv's compiled operators do not run on" in found.text and "install" in found.text


def test_an_mmcv_for_another_gpu(monkeypatch):
    def fails(*_):
        raise RuntimeError("no kernel image is available\nCompile with ...")

    monkeypatch.setattr("mmcv.ops.nms", fails)
    with pytest.raises(ValueError, match=r"do not run on the CPU \(no kernel image is available\): .*FORCE_CUDA=1"):
        installation._run_operators("cpu")


def test_a_step_of_another_runner_is_not_tried(config):
    config.runner_type = "FlexibleRunner"
    finding = by_subject(examine(config))["a step"]
    assert finding.level == WARNING and "it needs MMEngine's Runner, and this is FlexibleRunner" in finding.text


def test_a_config_that_is_right(config):
    found = by_subject(examine(config))
    assert {finding.level for finding in found.values()} == {OK}
    assert "sha256 " in found["the teacher's weights"].text
    assert "| s8    | head 0, 16x16" in found["levels and losses"].text
    assert re.fullmatch(
        r"\d+\.\d{3} s; the (process|GPU) used \d+ MB .*; the student without distillation takes \d+\.\d{3} s",
        found["a step"].text,
    )


def test_a_step_in_the_precision_of_the_training(config, monkeypatch):
    """Memory, time and failures are those of a training with `--amp`."""
    seen, forward = [], FPNDistill.loss

    def loss(*args):
        seen.append(torch.is_autocast_cpu_enabled())
        return forward(*args)

    monkeypatch.setattr(FPNDistill, "loss", loss)
    found = by_subject(examine(config, options=TrainingOptions(amp=True)))
    assert found["a step"].level == OK and " s in bfloat16; the " in found["a step"].text
    assert seen and all(seen)


def test_doubtful_annotations(config, no_step):
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.metainfo.classes = tuple("1023456789")
    found = [finding for finding in examine(config) if finding.level == WARNING]
    assert [finding.text.partition(":")[0] for finding in found] == [
        "train_dataloader",
        "val_dataloader",
        "test_dataloader",
    ]


@pytest.mark.parametrize("content", ["", '{"categories": [{"na'], ids=["empty", "cut off"])
def test_a_broken_annotation_file_of_the_test_split_is_no_error(config, tmp_path, content, no_step):
    (tmp_path / "test.json").write_text(content)
    config.test_dataloader.dataset.ann_file = str(tmp_path / "test.json")
    found = by_subject(examine(config))
    assert found["annotations and classes of the test"].level == WARNING
    assert found["a step"].level == OK


def test_a_detector_that_reads_how_far_the_training_is(config):
    resize = dict(type="BatchSyncRandomResize", random_size_range=(96, 128), interval=1)
    config.model = model_config("configs/demo/student.py")
    config.model.data_preprocessor.batch_augments = [resize]
    assert by_subject(examine(config))["a step"].level == OK


def test_what_is_wrong_and_that_no_step_is_tried(config):
    config.model.teacher_ckpt = "none.pth"
    config.model.architecture.bbox_head.num_classes = 3
    found = by_subject(examine(config))
    assert [s for s, f in found.items() if f.level == ERROR] == ["weights", "annotations and classes"]
    assert found["a step"].level == WARNING and "correct the errors first" in found["a step"].text


def test_images_that_are_missing_or_empty(config, digit_scenes, tmp_path):
    scenes = shutil.copytree(digit_scenes, tmp_path / "scenes")
    move_data_root(config, str(scenes))
    sorted((scenes / "val").iterdir())[1].write_bytes(b"")
    (scenes / "annotations/test.json").unlink()
    found = by_subject(examine(config))
    said = found["images of train_dataloader"].text
    assert re.fullmatch(r"8 files decoded in \d+\.\d s, \d+\.\d s per 1,000", said), said
    val, test = (found[f"images of {split}_dataloader"] for split in ("val", "test"))
    assert val.level == ERROR and "1 of 4 image files are missing, damaged or" in val.text
    assert test.level == WARNING and "test.json" in test.text


class Plain(Dataset):
    """A data set of torch's, which says nothing of its files."""


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(data_prefix=dict(img="s3://bucket/train/")), "lists no files on this machine"),
        (dict(backend_args=dict(backend="petrel")), "not on this machine"),
        (dict(type=Plain, _delete_=True), "lists no files on this machine"),
    ],
)
def test_images_that_are_elsewhere(config, change, said):
    config.merge_from_dict(dict(train_dataloader=dict(dataset=change)))
    assert said in check_images(config, "train_dataloader")


def test_a_data_set_without_images(tmp_path):
    (tmp_path / "none.json").write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    dataset = dict(type="CocoDataset", ann_file=str(tmp_path / "none.json"))
    with pytest.raises(ValueError, match="the data set of val_dataloader is empty: no image is left after filtering"):
        check_images(Config(dict(val_dataloader=dict(dataset=dataset))), "val_dataloader")


def test_a_model_that_cannot_be_built(config):
    config.model.distiller = dict(losses=dict(head=dict(images=7)))
    found = by_subject(examine(config))[PARTS]
    assert found.level == ERROR and "images" in found.text


def test_weights_that_cannot_be_downloaded(config):
    config.model.architecture.backbone.init_cfg = dict(type="Pretrained", checkpoint="http://127.0.0.1:9/r.pth")
    found = by_subject(examine(config))[PARTS]
    assert found.level == ERROR and "weights that the config names cannot be downloaded" in found.text
    assert "Without a network, give a file" in found.text


def test_weights_of_another_architecture(config, tmp_path):
    config.model.teacher_ckpt = str(tmp_path / "other.pth")
    torch.save(dict(state_dict=torch.nn.Linear(2, 2).state_dict()), config.model.teacher_ckpt)
    found = by_subject(examine(config))[PARTS]
    assert found.level == ERROR and "another architecture" in found.text


@pytest.mark.parametrize(
    "place, name, subject",
    [
        pytest.param("train_cfg", "max_epoch", PARTS, marks=pytest.mark.full),
        ("optim_wrapper.optimizer", "lrr", PARTS),
        ("default_hooks.checkpoint", "save_bset", PARTS),
    ],
)
def test_what_a_training_would_refuse_later(config, place, name, subject):
    config.merge_from_dict({f"{place}.{name}": 3})
    found = by_subject(examine(config))[subject]
    assert found.level == ERROR and name in found.text


@pytest.mark.full
def test_a_level_without_enough_patches(config, warned):
    config.model.distiller = dict(losses=dict(pcka=dict(type="pcka_mmdet.PCKALoss", patch_size=4)))
    found = by_subject(examine(config))["levels and losses"]
    assert found.level == WARNING
    for text in (found.text, *warned):
        assert "has 1 patch of side 4, and centering='center' needs 3: use a smaller patch_size" in text


def test_a_teacher_that_is_not_better(config, no_step):
    config.teacher_check = dict(at_least=-1)
    (doubt,) = examination._compare_teacher(config, images=2, baseline=0.4)
    assert "there is nothing to learn from this teacher" in doubt
    found = by_subject(examine(config, baseline=-0.1))["the teacher on the validation data"]
    assert found.level == OK and found.text == "0.000 on all images, +0.100 over the student without a teacher"
    config.teacher_check = dict(at_least=0.5)
    found = by_subject(examine(config, images=2))["the teacher on the validation data"]
    assert found.level == ERROR and "below 0.5" in found.text


def test_an_algorithm_of_mmrazor(config):
    """Its `train` returns nothing."""
    recorder = dict(neck=dict(type="mmrazor.ModuleOutputs", source="neck"))
    of_student = dict(from_student=True, recorder="neck", data_idx=0)
    config.model = dict(
        type="mmrazor.SingleTeacherDistill",
        architecture=config.model.architecture,
        teacher=config.model.architecture,
        distiller=dict(
            type="mmrazor.ConfigurableDistiller",
            student_recorders=recorder,
            teacher_recorders=recorder,
            distill_losses=dict(l2=dict(type="mmrazor.L2Loss")),
            loss_forward_mappings=dict(l2=dict(s_feature=of_student, t_feature=dict(of_student, from_student=False))),
        ),
    )
    found = by_subject(examine(config))["a step"]
    assert found.level == OK, found


def test_a_detector_that_has_no_teacher_to_evaluate(config, no_step):
    config.model = config.model.architecture
    for options, level in ((dict(images=2), ERROR), (dict(baseline=0.2), WARNING)):
        assert by_subject(examine(config, **options))["the teacher on the validation data"].level == level


def test_a_detector_alone(config):
    config.model = config.model.architecture
    found = by_subject(examine(config))
    assert "levels and losses" not in found and found["a step"].level == OK
