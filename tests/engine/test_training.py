"""What the options of a training change in its config."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from pcka_mmdet.engine import training
from pcka_mmdet.engine.hooks.student_checkpoint import StudentCheckpointHook
from pcka_mmdet.engine.training import TrainingOptions
from tests.detectors import distillation, retinanet
from tests.runners import training as runner_settings


def plain(**settings) -> Config:
    settings = dict(train_cfg=dict(by_epoch=True, max_epochs=1)) | settings
    return Config(dict(model=retinanet(), optim_wrapper=dict(type="OptimWrapper"), work_dir="work") | settings)


def test_weights_to_start_from_are_not_loaded_over():
    """MMEngine loads `load_from` after the model has its initial weights."""
    config = plain(model=distillation(), load_from="start.pth")
    TrainingOptions(init_student="mine.pth").apply(config)
    assert (config.model.init_student, config.load_from) == ("mine.pth", None)
    for start in (dict(init_student="mine.pth"), dict(inherit=["neck"])):
        config = plain(model=distillation(**start), load_from="start.pth")
        TrainingOptions().apply(config)
        assert config.load_from is None
    config = plain(load_from="start.pth")
    TrainingOptions().apply(config)
    assert config.load_from == "start.pth"


def test_the_config_kept_by_a_resumed_training_begins_one(monkeypatch):
    """It loads what the first start loaded."""
    seen = []

    def build(config):
        def note():
            seen.append((config.resume, config.load_from))

        note()
        logger = SimpleNamespace(info=print)
        run = SimpleNamespace(
            model=None, cfg=config, hooks=[], train_loop=None, train=note, dump_config=note, logger=logger
        )
        run.register_hook = run.hooks.append
        return run

    monkeypatch.setattr(training, "build_runner", build)
    monkeypatch.setattr(training, "checkpoint_to_resume", lambda *_: "epoch_1.pth")
    monkeypatch.setattr(training, "reserved", lambda *_, **__: nullcontext())
    monkeypatch.setattr(training.preflight, "check_all", lambda config: [])
    training.run_training(plain(load_from="start.pth"), TrainingOptions(resume="newest"))
    assert seen == [(True, "epoch_1.pth"), (False, "start.pth"), (False, "start.pth")]


def test_options_of_another_kind():
    """As the command line's flags, which have a value without one being given."""
    for number in (True, 0):
        with pytest.raises(ValueError, match=f"number of validation images; got {number}: write check_teacher=500"):
            TrainingOptions(check_teacher=number)
    with pytest.raises(ValueError, match="'newest' or 'auto'; got True: write resume='newest'"):
        TrainingOptions(resume=True)
    for model in (retinanet(), dict(type="mmrazor.SingleTeacherDistill", architecture=retinanet())):
        with pytest.raises(ValueError, match="--init-student is for distillations by FPNDistill. For a plain training"):
            TrainingOptions(init_student="mine.pth").apply(plain(model=model))
    config = plain(model=distillation())
    TrainingOptions(init_student=Path("mine.pth")).apply(config)
    assert config.model.init_student == "mine.pth"


@pytest.mark.parametrize("backends", [[], [dict(type="WandbVisBackend")], [dict(type="mmengine.LocalVisBackend")]])
def test_every_training_logs_into_its_work_directory(backends):
    """The report, `--baseline` and `distill` read that."""
    config = plain(visualizer=dict(type="DetLocalVisualizer", vis_backends=backends))
    TrainingOptions().apply(config)
    kinds = [backend.type.removeprefix("mmengine.") for backend in config.visualizer.vis_backends]
    given = [backend["type"] for backend in backends if "Local" not in backend["type"]]
    assert kinds == [*given, "LocalVisBackend"]


@pytest.mark.parametrize("given", [None, dict(type="LogProcessor", window_size=7), dict(type="mine.Processor")])
def test_the_console_line_of_a_distillation_has_no_levels(given):
    config = plain(model=distillation(), **(dict(log_processor=given) if given else {}))
    TrainingOptions().apply(config)
    is_users = given is not None and given["type"] == "mine.Processor"
    expected = given if is_users else {**(given or {}), "type": "pcka_mmdet.LevelLogProcessor"}
    assert config.log_processor == expected
    undistilled = plain(log_processor=dict(type="LogProcessor"))
    TrainingOptions().apply(undistilled)
    assert undistilled.log_processor.type == "LogProcessor"


@pytest.mark.parametrize(
    "checkpoint, interval",
    [(dict(interval=1), 200), (dict(interval=50), 50), (dict(interval=1, by_epoch=False), 1), ({}, None)],
)
def test_the_default_interval_of_checkpoints_is_no_iteration(checkpoint, interval):
    """MMDetection's `default_runtime` has an epoch."""
    config = plain(train_cfg=dict(type="IterBasedTrainLoop", max_iters=1000, val_interval=200))
    config.default_hooks = dict(checkpoint=dict(type="CheckpointHook", **checkpoint))
    TrainingOptions().apply(config)
    assert config.default_hooks.checkpoint.get("interval") == interval


@pytest.mark.parametrize(
    "train_cfg, logger, expected",
    [
        (dict(by_epoch=True), {}, None),
        (dict(by_epoch=False), None, False),
        (dict(type="IterBasedTrainLoop"), dict(type="LoggerHook", interval=5), False),
        (dict(type="IterBasedTrainLoop"), dict(type="LoggerHook", log_metric_by_epoch=True), True),
    ],
)
def test_validations_of_a_training_by_iterations_are_logged_by_iteration(train_cfg, logger, expected):
    hooks = {} if logger is None else dict(logger=logger)
    config = plain(train_cfg=train_cfg, default_hooks=hooks)
    TrainingOptions().apply(config)
    assert config.default_hooks.get("logger", {}).get("log_metric_by_epoch") == expected
    assert config.default_hooks.checkpoint.get("by_epoch") == (None if expected is None else False)
    assert config.get("log_processor", {}).get("by_epoch") == (None if expected is None else False)
    assert expected is None or config.default_hooks.logger.type == "LoggerHook"


@pytest.mark.parametrize("settings", [{}, dict(default_hooks=dict(timer=dict(type="IterTimerHook")))])
def test_without_a_checkpoint_hook_each_epoch_is_saved_as_by_mmengine(settings):
    config = plain(**settings)
    TrainingOptions().apply(config)
    assert config.default_hooks.checkpoint == dict(type="pcka_mmdet.StudentCheckpointHook", interval=1)


def test_a_checkpoint_hook_without_a_type_is_mmengines():
    config = plain(default_hooks=dict(checkpoint=dict(interval=2)))
    TrainingOptions().apply(config)
    assert config.default_hooks.checkpoint == dict(type="pcka_mmdet.StudentCheckpointHook", interval=2)


class UsersHook(StudentCheckpointHook):
    pass


@pytest.mark.parametrize(
    "hook, name",
    [
        (None, "None"),
        (dict(type="CheckpointHook", backend_args=dict(backend="petrel")), "CheckpointHook"),
        (dict(type="CheckpointHook", out_dir="s3://bucket/runs"), "CheckpointHook"),
        (dict(type="pcka_mmdet.StudentCheckpointHook"), None),
        (dict(type=UsersHook), None),
    ],
)
def test_allow_teacher_change_says_where_it_has_no_effect(hook, name, monkeypatch):
    """MMEngine's hook would hand an option that it does not know to its runner, at the first save."""
    lines = []
    monkeypatch.setattr(training, "warn", lines.append)
    config = plain(default_hooks=dict(checkpoint=hook))
    TrainingOptions(allow_teacher_change=True).apply(config)
    assert bool(lines) == (name is not None) == ("allow_teacher_change" not in (config.default_hooks.checkpoint or {}))
    assert not lines or f"changes nothing: default_hooks.checkpoint is {name}, and only Student" in lines[0]


def test_doubts_about_a_config_are_in_the_log_file_too(tmp_path, monkeypatch):
    """They are found before there is one."""
    monkeypatch.setattr(training.preflight, "CHECKS", dict(any=lambda config: ["the order of classes is doubtful"]))
    settings = runner_settings(retinanet(), tmp_path, 1, dict(type="tests.runners.RandomScenes"))
    training.run_training(Config(dict(settings, launcher="none")), TrainingOptions())
    (log,) = tmp_path.glob("*/*.log")
    assert log.read_text().count("WARNING - the order of classes is doubtful") == 1
