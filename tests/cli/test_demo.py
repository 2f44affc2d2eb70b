"""A training of the demo: when it is complete, what is refused, and how it ends."""

import io
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from mmengine.config import Config
from rich.console import Console

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.checkpoints.files import file_sha256
from pcka_mmdet.checkpoints.resume import RECORD
from pcka_mmdet.cli import demo
from pcka_mmdet.cli.demo import Training


def config(epochs=2, **model):
    return Config(dict(model=dict(type="RetinaNet", **model), train_cfg=dict(max_epochs=epochs)))


@pytest.fixture
def run(monkeypatch):
    """Runs a training with Python code in place of `pcka-mmdet train`; returns what is printed."""

    def call(training: Training, code: str = "") -> str:
        popen = subprocess.Popen
        monkeypatch.setattr(demo.subprocess, "Popen", lambda words: popen([sys.executable, "-c", code, *words]))
        output = io.StringIO()
        training.run(Console(file=output, width=200))
        return output.getvalue()

    return call


def finish(training: Training, **meta) -> None:
    """What a training leaves."""
    training.config.dump(training.config_file)
    write_json(training.folder / RECORD, {})
    torch.save(dict(meta=meta), training.checkpoint)


def test_the_command_is_shown_and_runs(tmp_path, run):
    code = f"import sys; open({str(tmp_path / 'words')!r}, 'w').write(' '.join(sys.argv[2:]))"
    out = run(Training(tmp_path / "student", config()), code)
    words = f"train {tmp_path / 'student.py'} --work-dir {tmp_path / 'student'} --resume auto"
    assert out == f"student: pcka-mmdet {words}\n"
    assert (tmp_path / "words").read_text() == f"-m pcka_mmdet {words}"
    assert Config.fromfile(tmp_path / "student.py").to_dict() == config().to_dict()


def test_a_complete_training_is_not_repeated(tmp_path, run):
    training = Training(tmp_path / "student", config())
    finish(training)
    assert run(training, "raise SystemExit(1)") == f"student: {tmp_path / 'student' / 'epoch_2.pth'} is complete\n"


def test_a_training_of_another_config_is_refused(tmp_path, run):
    finish(Training(tmp_path / "student", config()))
    message = r"student' holds a training of another config; what differs: model.depth; train_cfg.max_epochs\. Delete "
    with pytest.raises(ValueError, match=message + r"'.*student' to train anew, or give another --work-dir"):
        run(Training(tmp_path / "student", config(3, depth=18)))
    assert Config.fromfile(tmp_path / "student.py").train_cfg.max_epochs == 2


def test_variables_of_the_config_file_may_differ(tmp_path, run):
    """`balance` beside `model`, from which an older config was made."""
    finish(Training(tmp_path / "student", Config(dict(config().to_dict(), balance=dict(ratio=1.0)))))
    assert "is complete" in run(Training(tmp_path / "student", config()))


def test_the_config_of_a_deleted_training_is_replaced(tmp_path, run):
    config().dump(tmp_path / "student.py")
    run(Training(tmp_path / "student", config(3)))
    assert Config.fromfile(tmp_path / "student.py").train_cfg.max_epochs == 3


def test_a_student_of_an_earlier_teacher_is_refused(tmp_path, run):
    teacher = Training(tmp_path / "teacher", config())
    finish(teacher)
    student = Training(tmp_path / "distilled", config(teacher=dict(), teacher_ckpt="a.pth"), teacher)
    finish(student, teacher_sha256=file_sha256(teacher.checkpoint))
    moved = Training(tmp_path / "distilled", config(teacher=dict(), teacher_ckpt="b.pth"), teacher)
    assert "is complete" in run(moved)
    finish(teacher, trained="again")
    with pytest.raises(ValueError, match=r"distilled' holds a student of an earlier teacher\. Delete '.*distilled' to"):
        run(student)


@pytest.mark.parametrize(
    "code, how",
    [
        ("raise SystemExit(3)", "failed with exit status 3;"),
        ("import os; os.kill(os.getpid(), 9)", r"was killed by signal 9 \(9: maybe out of memory\);"),
    ],
)
def test_a_failed_training_says_how_to_go_on(tmp_path, run, code, how):
    with pytest.raises(ChildProcessError, match=f"the training 'student' {how} .* run the same command again"):
        run(Training(tmp_path / "student", config()), code)


def test_an_interrupted_training_is_ended(tmp_path, run, monkeypatch):
    """SIGTERM reaches the command only. Ctrl-C reaches the training too."""
    monkeypatch.setattr(demo, "PATIENCE", 0.1)
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(Training(tmp_path / "student", config()), code)
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
