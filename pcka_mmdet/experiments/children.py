"""Child processes that log to a file and end with this one."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PATIENCE = 10.0  # seconds between asking a process to end and ending it


class ChildFailed(RuntimeError):
    """A child process ended with an error."""

    def __init__(self, name: str, code: int, log: Path, lines: int = 20):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
        what = f"ended with code {code}" if code > 0 else f"was ended by signal {-code} (9: maybe by lack of memory)"
        super().__init__(f"{name} {what}. The end of {log}:\n\n{tail}")
        self.code = code if code > 0 else 128 - code


class Child:
    """A Python process in a session of its own, so that the terminal's Ctrl-C reaches it by way of us alone.

    Args:
        arguments: What this Python runs: a script and its arguments.
        log: The file that stdout and stderr are appended to.
        threads: For the numerical libraries.
        inherit: File descriptors that the child keeps open.
    """

    def __init__(self, arguments: Sequence[str], log: Path, threads: int, inherit: Sequence[int] = ()):
        # OpenMP threads that spin for long make a training ten times slower as soon as another process needs a core;
        # threads that do not spin at all make it twice as slow on its own.
        environment = {"GOMP_SPINCOUNT": "20000", **os.environ, "OMP_NUM_THREADS": str(threads)}
        self.log = log
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=inherit,
            )

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it and its own children, data loader workers for instance."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP (a closed terminal) raise KeyboardInterrupt as Ctrl-C does: nothing is left behind."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    # nohup has SIGHUP ignored, and means it
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
