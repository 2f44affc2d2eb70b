"""Stages are done once, anew when what they are made from changes, and end with what runs them."""

import io
import os
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console

from research.trainings import stages
from research.trainings.display import Display, clock
from research.trainings.run_stages import Child, ChildFailed, run_stages, session, termination_as_interrupt
from research.trainings.stages import Stage, with_requirements

WRITE = "import pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write('x')"


class Script(Stage):
    """Runs a line of Python that appends to its product."""

    def __init__(self, folder: Path, inputs=1, code: str = WRITE, requires=()):
        super().__init__(folder.name, folder, inputs, requires)
        self._code = code

    def arguments(self) -> list[str]:
        return ["-c", self._code, str(self.folder / "product")]

    def products(self) -> list[Path]:
        return [self.folder / "product"]

    def summary(self) -> dict:
        return {"length": len(self.products()[0].read_text())}


def run(*stages: Stage, jobs: int = 1, terminal: bool = False) -> str:
    output = io.StringIO()
    ordered = with_requirements(stages)
    with Display(ordered, Console(file=output, width=200, force_terminal=terminal), jobs) as display:
        run_stages(ordered, display, threads=1, jobs=jobs)
    return output.getvalue()


def test_what_is_done_is_not_repeated(tmp_path):
    assert "first: done\n" in run(Script(tmp_path / "first"))
    assert "first: done already" in run(Script(tmp_path / "first"))
    assert Script(tmp_path / "first").record["length"] == 1


def test_a_changed_stage_is_made_anew_and_the_old_one_kept(tmp_path):
    run(Script(tmp_path / "first"))
    (tmp_path / "first" / "mine.txt").write_text("mine")
    assert f"the old folder is now {tmp_path / 'first.old1'}" in run(Script(tmp_path / "first", inputs=2))
    assert (tmp_path / "first.old1" / "mine.txt").read_text() == "mine"
    assert (tmp_path / "first" / "product").read_text() == "x"


def test_what_depends_on_a_changed_stage_is_made_anew_too(tmp_path):
    for inputs in (1, 2):
        teacher = Script(tmp_path / "teacher", inputs)
        run(Script(tmp_path / "student", requires=[teacher]))
    assert (tmp_path / "student.old1").exists()


def test_requirements_are_run_first_and_once(tmp_path):
    teacher = Script(tmp_path / "teacher")
    students = [Script(tmp_path / name, requires=[teacher]) for name in ("one", "two")]
    assert with_requirements(students) == [teacher, *students]
    run(*students, jobs=2)
    assert (tmp_path / "teacher" / "product").read_text() == "x"
    assert all(student.is_done() for student in students)


def test_an_interrupted_stage_goes_on_in_its_folder(tmp_path):
    stage = Script(tmp_path / "first")
    stage.prepare()
    (tmp_path / "first" / "product").write_text("half ")
    assert not stage.is_done()
    run(stage)
    assert (tmp_path / "first" / "product").read_text() == "half x"


def test_provenance_is_of_the_run_that_began_a_stage(tmp_path, monkeypatch):
    """Later code may finish it, or read its results again."""
    versions = iter(["old", "new", "newer"])
    monkeypatch.setattr(stages, "provenance", lambda: dict(version=next(versions)))
    stage = Script(tmp_path / "first")
    stage.prepare()  # and it was interrupted
    run(Script(tmp_path / "first"))
    assert stage.is_done() and stage.record["provenance"] == dict(version="old")
    run(Script(tmp_path / "first", inputs=2))
    assert stage.record["provenance"] == dict(version="new")


def test_a_lost_product_is_made_again(tmp_path):
    run(Script(tmp_path / "first"))
    (tmp_path / "first" / "product").unlink()
    assert not Script(tmp_path / "first").is_done()


def test_a_failure_shows_the_end_of_the_log_and_its_code(tmp_path, capsys):
    code = "import sys; print('\\n'.join(f'line {i}' for i in range(50))); sys.exit(3)"
    with pytest.raises(SystemExit) as raised, session(tmp_path):
        run(Script(tmp_path / "first", code=code))
    message = capsys.readouterr().err
    assert raised.value.code == 3
    assert f"first ended with code 3. The end of {tmp_path / 'first' / 'log.txt'}" in message
    assert "line 49" in message
    assert "line 29" not in message


def test_a_killed_child_is_told_from_a_failed_one(tmp_path):
    with pytest.raises(ChildFailed, match=r"killed by signal 9 \(9: maybe out of memory\)") as raised:
        run(Script(tmp_path / "first", code="import os; os.kill(os.getpid(), 9)"))
    assert raised.value.code == 128 + 9


def test_an_interruption_ends_the_children_and_says_how_to_go_on(tmp_path):
    class Interrupts(Display):
        def update(self, running) -> None:
            if (tmp_path / "first" / "product").exists():
                raise KeyboardInterrupt

    code = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    stage = Script(tmp_path / "first", code=code)
    with pytest.raises(KeyboardInterrupt, match="run the same command again to continue"), session(tmp_path):
        run_stages([stage], Interrupts([stage], Console(file=io.StringIO())), threads=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "first" / "product").read_text()), 0)
    assert not stage.is_done()


def test_children_get_their_threads_and_do_not_spin(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=0")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    code = "import os; print(*(os.environ[name] for name in ('OMP_NUM_THREADS', 'GOMP_SPINCOUNT', 'GLIBC_TUNABLES')))"
    child = Child(["-c", code], tmp_path / "log.txt", threads=2)
    while child.poll() is None:
        time.sleep(0.01)
    assert (tmp_path / "log.txt").read_text() == "2 20000 glibc.malloc.perturb=0\n"


def test_progress_on_a_terminal_and_without(tmp_path):
    assert "whole run" in run(Script(tmp_path / "bars"), terminal=True)
    assert "lines 0:15 left; whole run: about 0:15 left" in run(Script(tmp_path / "lines"))


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.6, 754, 3671)] == ["0:00", "1:00", "12:34", "1:01:11"]


def test_termination_is_an_interruption():
    with pytest.raises(KeyboardInterrupt), termination_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
