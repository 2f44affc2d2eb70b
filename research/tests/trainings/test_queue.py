"""The queue that runs the trainings of a protocol."""

import os
import signal
import subprocess

import pytest
from rich.console import Console

from research.trainings import queue
from research.trainings.queue import ChangedCode, Queue, code_digest
from research.trainings.results import Places, Results
from research.trainings.run_stages import ChildFailed
from research.trainings.stages import Training
from research.trainings.students import Student
from research.verdict.methods import Setting
from research.verdict.pairs import PAIRS, Pair
from research.verdict.trials import Trial


def test_the_code_has_to_be_a_commit(monkeypatch, tmp_path):
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    monkeypatch.setattr(queue, "carried", lambda name: tmp_path / name)
    with pytest.raises(ChangedCode, match="no git repository"):
        code_digest()
    for folder in ("pcka_mmdet", "tools", "configs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("a = 1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    first = code_digest()
    (tmp_path / "configs" / "a.py").write_text("a = 2")
    with pytest.raises(ChangedCode, match=r"in no commit:\n.*configs/a.py"):
        code_digest()
    git("commit", "-qam", "a config")
    assert code_digest() == first  # configs have digests of their own
    (tmp_path / "pcka_mmdet" / "a.py").write_text("a = 2")
    git("commit", "-qam", "the code")
    assert code_digest() != first


class Child:
    """In place of a training: it writes the product at once, unless the stage is to fail."""

    started: list[str] = []
    code = 0

    def __init__(self, arguments, log, threads):
        self.started.append(log.parent.name if log.name == "train.log" else f"{log.parent.name} {log.stem}")
        if "train" in arguments:
            epochs = 1 if "teacher" in log.parent.name else 2
            (log.parent / f"epoch_{epochs}.pth").write_bytes(b"weights")
        log.write_text("the end of the log")

    def poll(self):
        """It runs until it is asked twice."""
        self.asked = getattr(self, "asked", 0) + 1
        return self.code if self.asked > 1 else None

    def stop(self):
        pass


@pytest.fixture
def queue_of(monkeypatch, tmp_path, digit_scenes):
    """A queue for trials on the digits, whose trainings take no time."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digit_scenes").symlink_to(digit_scenes)
    monkeypatch.setattr(queue, "code_digest", lambda: "digest")
    monkeypatch.setattr(queue, "POLL", 0)
    monkeypatch.setattr(queue.os, "nice", lambda by: None)
    monkeypatch.setattr(Child, "started", [])
    monkeypatch.setattr(queue, "Child", Child)
    monkeypatch.setattr(Training, "summary", lambda self: dict(seconds=1.0, val=dict(bbox_mAP=0.25)))
    monkeypatch.setitem(PAIRS, "digits", Pair("demo", "digit_scenes", epochs=2, teacher_epochs=1))
    places = Places(tmp_path / "work", tmp_path / "data", tmp_path / "weights.pth")

    def make(trials: list[Trial], jobs: int = 2) -> Queue:
        steps = [lambda results: results.val(trials)]
        return Queue(steps, Results(tmp_path / "results"), places, jobs, Console(quiet=True), "command")

    return make


STUDENT = Student(3e-3, 2)
ALONE = Trial("digits", Setting(), 1000, STUDENT)
DISTILLED = Trial("digits", Setting("l2", 1.0, "two"), 1000, STUDENT)


def test_a_teacher_is_trained_before_its_student_and_each_result_is_kept(queue_of):
    one = queue_of([DISTILLED, ALONE])
    one.run()
    assert Child.started == ["teacher_seed0", ALONE.name, DISTILLED.name]  # the student alone uses the idle core
    rows = one.results.rows("digits")
    assert rows.keys() == {"teacher_seed0", ALONE.name, DISTILLED.name}
    row = rows[DISTILLED.name]
    assert (row["val"], row["code"], row["command"]) == (0.25, "digest", f"command digits {DISTILLED.name}")
    assert row["inputs"]["teacher"] and "teacher" not in rows[ALONE.name]["inputs"]
    assert Trial.of_row(row) == DISTILLED


def test_what_has_a_result_is_not_repeated(queue_of):
    queue_of([ALONE]).run()
    queue_of([ALONE]).run()
    assert Child.started == [ALONE.name]


def test_a_result_of_another_machine_is_not_repeated_but_its_teacher_is_trained(queue_of):
    one = queue_of([DISTILLED])
    one.results.write(DISTILLED.teacher, dict(val=0.5))
    one.run()
    assert Child.started == ["teacher_seed0", DISTILLED.name]
    assert one.results.rows("digits")["teacher_seed0"] == dict(val=0.5)


def test_a_training_that_fails_ends_the_queue(queue_of, monkeypatch):
    monkeypatch.setattr(Child, "code", 3)
    with pytest.raises(ChildFailed, match="ended with code 3"):
        queue_of([ALONE]).run()


def test_code_that_changes_meanwhile_ends_the_queue(queue_of, monkeypatch):
    one = queue_of([ALONE])
    monkeypatch.setattr(queue, "code_digest", lambda: "another")
    with pytest.raises(ChangedCode, match="the code was digest at the start and is another"):
        one.run()


def test_a_row_is_trained_anew_without_a_result(queue_of):
    one = queue_of([])
    assert one.again(DISTILLED) == 0.25
    assert Child.started == ["teacher_seed0", DISTILLED.name] and not one.results.rows("digits")


@pytest.mark.parametrize("run", [lambda queue: queue.run(), lambda queue: queue.again(ALONE)], ids=["run", "again"])
def test_no_child_goes_on_when_the_queue_is_ended(queue_of, monkeypatch, run):
    ended: list[Child] = []

    def terminated(child) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Child, "poll", terminated)
    monkeypatch.setattr(Child, "stop", lambda child: ended.append(child))
    with pytest.raises(KeyboardInterrupt):
        run(queue_of([ALONE]))
    assert len(ended) == 1


@pytest.mark.full  # two trainings
def test_the_queue_trains_keeps_and_does_not_repeat(monkeypatch, tmp_path, digit_scenes):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digit_scenes").symlink_to(digit_scenes)
    trials, results = [ALONE, DISTILLED], Results(tmp_path / "results")
    monkeypatch.setattr(queue, "code_digest", lambda: "digest")
    monkeypatch.setattr(queue.os, "nice", lambda by: None)
    monkeypatch.setitem(PAIRS, "digits", Pair("demo", "digit_scenes", epochs=2, teacher_epochs=1))
    places = Places(tmp_path / "work", tmp_path / "data", tmp_path / "weights.pth")
    arguments = ([lambda results: results.val(trials)], results, places, 2, Console(quiet=True), "command")
    Queue(*arguments).run()
    rows = results.rows("digits")
    assert rows.keys() == {"teacher_seed0", *(trial.name for trial in trials)}
    assert all(len(row["curve"]) == 2 and row["code"] == "digest" for row in rows.values())
    assert rows[trials[1].name]["inputs"]["teacher"]
    monkeypatch.setattr(queue, "Child", None)
    Queue(*arguments).run()  # nothing is left
