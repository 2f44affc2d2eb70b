"""The runner config that the command line's options make."""

import argparse
import os
from pathlib import Path

import pytest
from mmengine.config import Config

from pcka_mmdet.checkpoints.student import student_config
from pcka_mmdet.cli.arguments import (
    add_common_arguments,
    add_picture_argument,
    add_training_arguments,
    positive,
    runner_config,
    share,
    training_config,
)
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.engine.cfg_options import doubtful_names
from tests.detectors import distillation, retinanet

RETINANET = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"


def parsed(config: Config, *options: str) -> Config:
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    return runner_config(parser.parse_args(["unused.py", "--work-dir", "unused", "--cfg-options", *options]), config)


@pytest.mark.parametrize(
    "option, right",
    [
        ("train_cgf.max_epochs=2", "train_cfg.max_epochs"),
        ("randomnes.seed=1", "randomness.seed"),
        ("default_hooks.loger.interval=1", "default_hooks.logger.interval"),
        ("model.balanse.ratio=2", "model.balance.ratio"),
        ("model.distiler.losses.pcka.loss_weight=2", "model.distiller.losses.pcka.loss_weight"),
        ("balance.ratio=2", "model.balance.ratio"),
        ("teacher_ckpt=t.pth", "model.teacher_ckpt"),
        ("losses.pcka.loss_weight=2", "model.distiller.losses.pcka.loss_weight"),
        ("losses.pckaa.loss_weight=2", "model.distiller.losses.pcka.loss_weight"),
        ("losses.rcka.loss_weight=2", "model.distiller.losses.rcka.loss_weight"),
        ("losses.pcka2.type=A", "model.distiller.losses.pcka2.type"),
        ("teachers.0.ckpt=t.pth", "model.teachers.0.ckpt"),
        ("modle.backbone.depth=18", "model.backbone.depth"),
        ("max_epochs=3", "train_cfg.max_epochs"),
        ("train_cfgs.max_epochs=3", "train_cfg.max_epochs"),
    ],
)
def test_a_setting_that_is_misspelt(option, right):
    config = Config(dict(model=distillation(), train_cfg=dict(max_epochs=1), default_hooks=dict(logger={})))
    with pytest.raises(ValueError, match=f"there is no setting {option.partition('=')[0]!r}: did you mean {right!r}?"):
        parsed(config, option)


@pytest.mark.parametrize(
    "option, right", [("max_epochs=3", "train_cfg.max_epochs"), ("balance.ratio=2", "model.balance.ratio")]
)
def test_a_variable_of_the_file(option, right):
    """The settings that were made from it would not change."""
    config = Config(dict(model=distillation(), train_cfg=dict(max_epochs=1), max_epochs=1, balance=dict(ratio=1.0)))
    with pytest.raises(ValueError, match=f"did you mean {right!r}?"):
        parsed(config, option)


def test_a_setting_that_the_config_lacks():
    mine = ["tta_pipeline=[]", "train_pipeline_stage2=[]", "val_evaluator_b.type=A", "model.teacher_neck.type=FPN"]
    given = Config(dict(model=distillation(), train_pipeline=[], test_pipeline=[]))
    config = parsed(given, "resume=True", "my_own.setting=1", "model.balance.ratio=2.0", *mine)
    assert config.resume and config.my_own.setting == 1 and config.model.balance.ratio == 2


def test_a_misspelt_name_in_a_file():
    doubts = doubtful_names(Config(dict(trian_cfg={}, conv_cfg={}, train_pipeline=[], my_own=1, model={})))
    assert doubts == ["the config has 'trian_cfg', which MMEngine does not read: did you mean 'train_cfg'?"]


def test_a_launcher_that_started_nothing(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    args = argparse.Namespace(launcher="slurm", local_rank=0, cfg_options={}, work_dir="work")
    with pytest.raises(ValueError, match="--launcher slurm .* SLURM_PROCID is not set: use tools/dist_train.sh"):
        runner_config(args, Config(dict(model=distillation())))
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert runner_config(args, Config(dict(model=distillation()))).launcher == "slurm"


@pytest.mark.parametrize("word", ["0", "-3", "many"])
def test_a_number_that_is_not_positive(word):
    with pytest.raises(argparse.ArgumentTypeError, match=f"a number of 1 or more is expected, got '{word}'"):
        positive(word)
    assert positive("12") == 12


def test_an_option_without_a_value(capsys):
    with pytest.raises(SystemExit):
        parsed(Config(dict(model=distillation())), "train_cfg.max_epochs")
    assert "--cfg-options takes KEY=VALUE, such as train_cfg.max_epochs=2; got 'train_cfg" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["[1,2", "[dict(type='EMAHook',momentum=0.1)]", "data(1,2)/images"])
def test_a_value_that_cannot_be_read(value, capsys):
    with pytest.raises(SystemExit):
        parsed(Config(dict(model=distillation())), f"custom_hooks={value}")
    given = f"custom_hooks={value}"
    assert f"such as key=[1,2]; got {given!r}. Write dicts in a config file" in capsys.readouterr().err


@pytest.mark.parametrize("architecture", [RETINANET, dict(cfg_path=RETINANET)])
def test_settings_of_a_detector_are_the_students(architecture):
    """As for the student alone, in training and in testing."""
    options = ["model.bbox_head.num_classes=3", "model.test_cfg.max_per_img=1", "model.teacher_precision=bf16"]
    options += ["model.data_preprocessor.pad_size_divisor=64"]
    config = parsed(Config(dict(model=distillation(architecture=architecture))), *options, "train_cfg.max_epochs=2")
    assert config.model.teacher_precision == "bf16" and config.train_cfg.max_epochs == 2
    assert "bbox_head" not in config.model and "test_cfg" not in config.model
    student = student_config(config).model
    assert (student.bbox_head.num_classes, student.test_cfg.max_per_img) == (3, 1)
    assert student.test_cfg.score_thr == 0.05  # the rest is as it was
    assert (student.data_preprocessor.pad_size_divisor, student.data_preprocessor.bgr_to_rgb) == (64, True)


@pytest.mark.parametrize("turn", [1, -1])
def test_another_student_and_a_setting_of_it(turn):
    options = [f"model.architecture={RETINANET}", "model.bbox_head.num_classes=3"][::turn]
    student = student_config(parsed(Config(dict(model=distillation(architecture="gone.py"))), *options)).model
    assert student.bbox_head.num_classes == 3 and student.backbone.depth == 18


def test_a_preprocessor_at_the_top_of_the_students_config_is_merged_into():
    yolov3 = dict(cfg_path="mmdet::yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py")
    config = Config(dict(model=distillation(architecture=yolov3)))
    student = student_config(parsed(config, "model.data_preprocessor.pad_size_divisor=64")).model
    assert student.data_preprocessor.type == "DetDataPreprocessor" and student.data_preprocessor.pad_size_divisor == 64


def test_a_setting_of_the_preprocessor_at_the_top_is_the_students():
    """As of the student alone, whose model has a copy of it too."""
    preprocessor = dict(type="DetDataPreprocessor", mean=[1.0, 1.0, 1.0], std=[1.0, 1.0, 1.0])
    student = dict(retinanet(), data_preprocessor=preprocessor)
    config = Config(dict(model=distillation(architecture=student), data_preprocessor=preprocessor))
    config = parsed(config, "data_preprocessor.mean=[2.0, 2.0, 2.0]")
    assert config.model.architecture.data_preprocessor.mean == config.data_preprocessor.mean == [2.0, 2.0, 2.0]


def test_options_of_a_detector_and_of_an_algorithm_of_mmrazor_keep_their_place():
    assert parsed(Config(dict(model=dict(type="RetinaNet"))), "model.test_cfg.max_per_img=1").model.test_cfg
    foreign = Config(dict(model=dict(type="mmrazor.FpnTeacherDistill", architecture={})))
    assert parsed(foreign, "model.calculate_student_loss=False").model.calculate_student_loss is False


def test_options_by_stride():
    """On the command line strides are text."""
    options = ["model.distiller.losses.pcka.patch_size.8=1", "model.distiller.losses.pcka.level_weight.16=3.0"]
    model = distillation()
    model["distiller"]["losses"]["pcka"]["patch_size"] = {8: 2, 16: 2}
    distiller = build_detector(parsed(Config(dict(model=model)), *options).model).distiller
    assert [distiller.losses[f"pcka_s{stride}"].patch_size for stride in (8, 16)] == [1, 2]
    assert [term.level_weight for term in distiller.terms["pcka"]][:2] == [1.0, 3.0]


def test_a_path_keeps_its_blanks_and_within_quotes_its_commas():
    """MMEngine's action removes them, which makes a wrong path."""
    config = parsed(Config(dict(a=1)), "load_from='/my data/of (1, 2).pth'", "a= 2", "b=[1, x]", "c=None", "d=1e-3, 2")
    assert config.load_from == "/my data/of (1, 2).pth"
    assert (config.a, config.b, config.c, config.d) == (2, [1, "x"], None, [1e-3, 2])


def test_values_within_quotes_are_read_all_the_same():
    """As MMEngine reads them: the quotes may be the shell's that were escaped."""
    config = parsed(Config(dict(a=1)), "a='cat','dog'", "b='3'", "c='[1,2]'", "d='False'")
    assert (config.a, config.b, config.c, config.d) == (["cat", "dog"], 3, [1, 2], False)


def test_a_share():
    assert share("0.3") == 0.3 and share("1") == 1
    for word in ("3", "-0.1", "nan", "half"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"a number from 0 to 1 is expected, got '{word}'"):
            share(word)


def test_a_recipe_of_the_config_beside_a_teacher():
    parser = argparse.ArgumentParser()
    add_training_arguments(parser)
    words = ["student.py", "--teacher", "t.py", "--teacher-ckpt", "t.pth", "--cfg-options", "model.recipe=maps"]
    with pytest.raises(ValueError, match="beside --teacher write --recipe maps, not --cfg-options model.recipe=maps"):
        training_config(parser.parse_args(words))


def test_a_misspelt_option_of_the_balance():
    model = distillation(balance=dict(ration=1.0))
    with pytest.raises(ValueError, match=r"balance is a dict such as dict\(ratio=1.0\), got .*ration"):
        build_detector(model)


def test_the_folder_of_a_picture_is_made_at_once(tmp_path):
    parser = argparse.ArgumentParser()
    add_picture_argument(parser, "curves.png")
    assert parser.parse_args([]).out == Path("curves.png")
    file = tmp_path / "new" / "picture.png"
    assert parser.parse_args(["--out", str(file)]).out == file and file.parent.is_dir()


def test_half_of_a_teacher_and_a_recipe_without_one():
    parser = argparse.ArgumentParser()
    add_training_arguments(parser)
    for words, said in (
        (["--teacher", "t.py"], "give --teacher CONFIG and --teacher-ckpt FILE together"),
        (["--teacher-ckpt", "t.pth"], "give --teacher CONFIG and --teacher-ckpt FILE together"),
        (["--recipe", "maps"], "--recipe needs --teacher; a distillation's config already holds its losses"),
    ):
        with pytest.raises(ValueError, match=said):
            training_config(parser.parse_args(["student.py", *words]))


def test_the_rank_that_a_launcher_gives_as_an_option(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "")
    monkeypatch.delenv("LOCAL_RANK")
    args = argparse.Namespace(launcher="none", local_rank=3, cfg_options={}, work_dir="work")
    runner_config(args, Config(dict(model=distillation())))
    assert os.environ["LOCAL_RANK"] == "3"
