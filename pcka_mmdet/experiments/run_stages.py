"""Run stages one after the other, or several at once."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pcka_mmdet.commands.short_errors import INTERRUPTED
from pcka_mmdet.engine.lock import exclusive

from .children import Child, ChildFailed, termination_as_interrupt
from .display import Display
from .stages import Stage


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
    """Lock the work directory during a run. If the run fails or is interrupted, exit with a message, no traceback.

    Yields:
        The lock's file descriptor, which children inherit.
    """
    try:
        with exclusive(work_dir) as lock, termination_as_interrupt():
            yield lock
    except ChildFailed as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.code) from error
    except KeyboardInterrupt as error:
        print("\ninterrupted: run the same command again to continue from the last complete epoch", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from error
