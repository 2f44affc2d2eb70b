"""Run stages one after the other, or several at once."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pcka_mmdet.engine.lock import exclusive

from .children import Child, ChildFailed, termination_as_interrupt
from .display import Display
from .stages import Stage


def run_stages(
    stages: Sequence[Stage], display: Display, threads: int, jobs: int = 1, inherit: Sequence[int] = ()
) -> None:
    """Run all stages that are not done, each after those that it requires.

    Whatever ends this function early also ends the children; the next call then goes on where they were.

    Args:
        stages: In the order in which they are wanted, with all that they require.
        display: What shows their progress.
        threads: Of each child.
        jobs: How many children run at once.
        inherit: File descriptors that the children keep open.

    Raises:
        ChildFailed: One of them failed.
    """
    waiting = [stage for stage in stages if not stage.is_done()]
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
            display.update(list(running))
            time.sleep(0.5 if running else 0)
    finally:
        for child in running.values():
            child.stop()


def _start(stage: Stage, display: Display, threads: int, inherit: Sequence[int]) -> Child:
    moved = stage.prepare()
    if moved is not None:
        display.say(f"{stage.name}: its config or data changed since; what was there is now in {moved}")
    return Child(stage.arguments(), stage.log, threads, inherit)


@contextlib.contextmanager
def session(work_dir: Path) -> Iterator[int]:
    """The frame of a run: alone in its work directory; a failed or interrupted one ends with a message, no traceback.

    Yields:
        The file descriptor that children inherit.
    """
    try:
        with exclusive(work_dir) as lock, termination_as_interrupt():
            yield lock
    except ChildFailed as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.code) from error
    except KeyboardInterrupt as error:
        print("\ninterrupted: the same command goes on from the last epoch of what was running", file=sys.stderr)
        raise SystemExit(130) from error
