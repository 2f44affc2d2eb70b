"""A work directory is one training's at a time, and not another's."""

import json
import os
import subprocess
import sys

import pytest
from mmengine.config import Config

from pcka_mmdet.cli import make_parser
from pcka_mmdet.cli import train as train_command
from pcka_mmdet.engine import work_dir
from pcka_mmdet.engine.work_dir import exclusive, reserved
from tests.detectors import distillation
from tests.integration.conftest import tiny_demo


@pytest.fixture
def train(digit_scenes, tmp_path, monkeypatch):
    """`tools/train.py` on the demo's distillation, in this process: it refuses before anything is built."""
    monkeypatch.setattr(work_dir, "PATIENCE", 0)
    monkeypatch.setenv("LOCAL_RANK", "0")

    def run(*options):
        words = ["configs/demo/distilled.py", "--work-dir", str(tmp_path / "work"), *options, *tiny_demo(digit_scenes)]
        monkeypatch.setattr(sys, "argv", ["pcka-mmdet", "train", *words])
        train_command.run(make_parser("train").parse_args())

    return run


def config(work_dir, **settings):
    return Config(dict(model=distillation(), work_dir=str(work_dir), launcher="none", **settings))


def test_two_trainings_at_once(train, tmp_path):
    with (
        exclusive(tmp_path / "work"),
        pytest.raises(BlockingIOError, match=rf"in use by another run \(process {os.getpid()}"),
    ):
        train()
    assert list((tmp_path / "work").iterdir()) == [tmp_path / "work" / ".lock"]


def test_a_folder_is_free_again_though_a_child_still_lives(tmp_path, monkeypatch):
    """As workers of a loader in a notebook, whose training has failed."""
    monkeypatch.setattr(work_dir, "PATIENCE", 0)
    for _ in range(2):
        with exclusive(tmp_path) as descriptor:
            child = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
        with exclusive(tmp_path):
            child.kill()
            child.wait()


def test_another_config_of_the_same_name(train, tmp_path):
    with reserved(config(tmp_path / "work"), resumes=False):
        (tmp_path / "work" / "epoch_1.pth").touch()
    with pytest.raises(
        ValueError, match=r"'.*/work' holds checkpoints of another config.*differs: .*Give another --wor"
    ):
        train()


def test_resume_where_nothing_was_trained(train, tmp_path):
    with pytest.raises(ValueError, match=r"--resume: there is no checkpoint in '.*/work', and no training began there"):
        train("--resume")
    assert not (tmp_path / "work").exists()


def test_two_trainings_whose_checkpoints_go_to_one_folder(tmp_path):
    """MMEngine names it after only the last part of the work directory."""

    def trained(seed: str, out_dir: str = "checkpoints") -> None:
        hooks = dict(checkpoint=dict(type="CheckpointHook", out_dir=str(tmp_path / out_dir)))
        with reserved(config(tmp_path / seed / "run", default_hooks=hooks), resumes=False):
            pass

    trained("seed0")
    trained("seed0")
    with pytest.raises(
        ValueError, match="the checkpoints of '.*seed0/run' are in '.*checkpoints/run', and would be ov"
    ):
        trained("seed1")
    trained("seed1", out_dir="seed1")  # the work directory
    (tmp_path / "seed0").rename(tmp_path / "moved")
    trained("moved")


def test_of_several_processes_the_first_one_keeps_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(work_dir, "PATIENCE", 0)
    settings = config(tmp_path)
    for launcher, variable in (("pytorch", "RANK"), ("slurm", "SLURM_PROCID"), ("mpi", "OMPI_COMM_WORLD_RANK")):
        settings.launcher = launcher
        monkeypatch.setenv(variable, "0")
        with reserved(settings, resumes=False):
            with pytest.raises(BlockingIOError, match="in use by another run"), reserved(settings, resumes=False):
                pass
            monkeypatch.setenv(variable, "1")
            with reserved(settings, resumes=False):
                pass
    assert json.loads((tmp_path / ".training.json").read_text())["model"]["type"] == "pcka_mmdet.FPNDistill"


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(work_dir.NO_LOCKS[0], "no locks available")

    monkeypatch.setattr(work_dir.fcntl, "flock", flock)
    with reserved(config(tmp_path), resumes=False), reserved(config(tmp_path), resumes=False):
        pass
