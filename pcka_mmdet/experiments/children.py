"""Child processes that log to a file and end together with this process."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

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
        # If OpenMP threads spin for long, a training is ten times slower as soon as another process needs a core. If
        # they do not spin at all, it is twice as slow on its own.
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
