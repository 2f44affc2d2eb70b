"""Run stages as child processes, one after the other or several at once."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pcka_mmdet.demo.environment import with_threads
from pcka_mmdet.engine.work_dir import exclusive

from .display import Display
from .stages import Stage

PATIENCE = 10.0  # seconds between SIGTERM and SIGKILL


class ChildFailed(RuntimeError):
    """A child process ended with an error."""

    def __init__(self, name: str, code: int, log: Path):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        what = f"ended with code {code}" if code > 0 else f"was killed by signal {-code} (9: maybe out of memory)"
        super().__init__(f"{name} {what}. The end of {log}:\n\n{tail}")
        self.code = code if code > 0 else 128 - code


class Child:
    """A Python process in its own session: Ctrl-C in the terminal reaches it only through this process.

    Args:
        arguments: A Python script and its arguments.
        log: File to which stdout and stderr are appended.
        threads: Threads of the numerical libraries.
        inherit: File descriptors that stay open in the child.
    """

    def __init__(self, arguments: Sequence[str], log: Path, threads: int, inherit: Sequence[int] = ()):
        self.log = log
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=with_threads(os.environ, threads),
                start_new_session=True,
                pass_fds=inherit,
            )

    def poll(self) -> int | None:
        """Exit code; `None` while the process runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End the process and its children, such as data loader workers."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP (a closed terminal) raise KeyboardInterrupt, as Ctrl-C does, so that cleanup runs."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    # ignored signals stay ignored: nohup ignores SIGHUP
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def run_stages(
    stages: Sequence[Stage],
    display: Display,
    threads: int,
    jobs: int = 1,
    inherit: Sequence[int] = (),
    on_done: Callable[[Stage], None] = lambda stage: None,
) -> None:
    """Run all stages that are not done, each after those that it requires.

    An exception or interrupt also ends the children. The next call continues where they stopped.

    Args:
        stages: Stages in the preferred order, with all that they require.
        display: Shows their progress.
        threads: Threads of each child.
        jobs: Number of children that run at once.
        inherit: File descriptors that stay open in the children.
        on_done: Called with each stage that is done, those that were done before included.

    Raises:
        ChildFailed: A child failed.
    """
    waiting = [stage for stage in stages if not stage.is_done()]
    for stage in stages:
        if stage not in waiting:
            on_done(stage)
    running: dict[Stage, Child] = {}
    try:
        while waiting or running:
            for stage in [stage for stage in waiting if all(required.is_done() for required in stage.requires)]:
                if len(running) < jobs:
                    waiting.remove(stage)
                    running[stage] = _start(stage, display, threads, inherit)
            for stage, child in list(running.items()):
                code = child.poll()
                if code is None:
                    continue
                del running[stage]
                if code != 0:
                    raise ChildFailed(stage.name, code, stage.log)
                stage.finish()
                display.finished(stage)
                on_done(stage)
            display.update(list(running))
            time.sleep(0.5 if running else 0)
    finally:
        for child in running.values():
            child.stop()


def _start(stage: Stage, display: Display, threads: int, inherit: Sequence[int]) -> Child:
    moved = stage.prepare()
    if moved is not None:
        display.say(f"{stage.name}: its config or data have changed; the old folder is now {moved}")
    return Child(stage.arguments(), stage.log, threads, inherit)


@contextlib.contextmanager
def session(work_dir: Path) -> Iterator[int]:
    """Lock the work directory during a run. If a child fails, exit with its code and the end of its log.

    Yields:
        The lock's file descriptor, which children inherit.

    Raises:
        KeyboardInterrupt: The run was interrupted; the message says how to go on.
    """
    try:
        with exclusive(work_dir) as lock, termination_as_interrupt():
            yield lock
    except ChildFailed as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.code) from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("run the same command again to continue from the last complete epoch") from error
