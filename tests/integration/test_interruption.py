"""A training that is killed goes on as if nothing had happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.config import Config

from tests.integration.conftest import tiny_demo
from tests.programs import ForkedProgram

DISTILLED = "tests/data/distilled.py"
EPOCHS = 3

KILLED = """
import os, runpy, signal
replace = os.replace
def killed(source, target, **options):
    if str(target).endswith("/epoch_2.pth"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target, **options)
os.replace = killed
runpy.run_path("tools/train.py", run_name="__main__")
"""
"""A training that kills its process when the second checkpoint is written, and not yet at its place."""


def words(digit_scenes, work_dir):
    arguments = [*tiny_demo(digit_scenes, EPOCHS), "custom_hooks.0.stop_epoch=2"]
    arguments += ["default_hooks.checkpoint.max_keep_ckpts=2"]
    return ["tools/train.py", DISTILLED, "--work-dir", str(work_dir), "--resume", "auto", *arguments]


def assert_same_end(first, second):
    one, other = (torch.load(folder / f"epoch_{EPOCHS}.pth", weights_only=True) for folder in (first, second))
    for key, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][key]), key
    for index, state in one["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, other["optimizer"]["state"][index][name]), (index, name)
    assert one["random_state"]["python"] == other["random_state"]["python"]


@pytest.fixture(scope="module")
def uninterrupted(command, digit_scenes, tmp_path_factory):
    work = tmp_path_factory.mktemp("whole")
    command(*words(digit_scenes, work))
    return work


@pytest.fixture
def start(tmp_path):
    """Start a command."""
    environment, output = {**os.environ, "OMP_NUM_THREADS": "1"}, [tmp_path / "stdout", tmp_path / "stderr"]
    return lambda words: ForkedProgram([sys.executable, *words], output, environment=environment)


def test_killed_during_a_save_and_resumed_it_ends_bit_equal(command, start, uninterrupted, digit_scenes, tmp_path):
    work = tmp_path / "killed"
    (tmp_path / "killed.py").write_text(KILLED)
    _, *arguments = words(digit_scenes, work)
    assert start([tmp_path / "killed.py", *arguments]).wait(300) == -signal.SIGKILL
    assert list(work.glob(".epoch_2.pth.*.part"))
    assert not (work / "epoch_2.pth").exists() and (work / "last_checkpoint").read_text() == str(work / "epoch_1.pth")
    command(*words(digit_scenes, work))
    assert_same_end(uninterrupted, work)
    assert not list(work.glob(".*.part"))
    kept = Config.fromfile(work / "distilled.py")  # begins a training, as that of an uninterrupted run does
    assert (kept.resume, kept.load_from) == (False, None)


def test_a_damaged_checkpoint_costs_one_epoch(command, uninterrupted, digit_scenes, tmp_path):
    work = shutil.copytree(uninterrupted, tmp_path / "damaged")
    last = work / f"epoch_{EPOCHS}.pth"
    last.write_bytes(last.read_bytes()[:5000])
    (work / "last_checkpoint").write_text(str(last))
    done = command(*words(digit_scenes, work))
    assert f"epoch_{EPOCHS}.pth' is damaged: going back to the one before" in done.stdout + done.stderr
    assert_same_end(uninterrupted, work)


@pytest.mark.full
def test_fifty_kills_at_random_moments(command, start, uninterrupted, digit_scenes, tmp_path):
    """Each leaves a work directory that resumes; the end is that of the training that nothing interrupted."""
    work, moments, kills, longest = tmp_path / "killed", random.Random(0), 0, 25.0
    while kills < 50:
        began = time.monotonic()
        process = start(words(digit_scenes, work))
        try:
            process.wait(moments.uniform(0.3, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.poll() == 0
        longest = max(1.0, time.monotonic() - began)  # on this machine
        for path in work.glob("*"):  # it was done: begin again
            if path.is_file():
                path.unlink()
    command(*words(digit_scenes, work))
    assert_same_end(uninterrupted, work)
