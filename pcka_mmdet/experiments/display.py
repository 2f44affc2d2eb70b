"""Progress and remaining time of a run: bars on a terminal, elsewhere a line every `INTERVAL` seconds."""

import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from .remaining_time import RemainingTime, clock
from .stages import Stage

INTERVAL = 30.0  # seconds between two lines where there is no terminal
REFRESH = 2.0  # seconds between two reads of the logs: reading them slows the training down


class Display:
    """Context manager that shows the progress of stages.

    Args:
        stages: All stages of the run.
        console: Output.
        jobs: Number of stages that run at once.
    """

    def __init__(self, stages: Sequence[Stage], console: Console, jobs: int = 1):
        self._estimate = RemainingTime(stages, jobs)
        self._console = console
        self._bars = _bars(console)
        self._tasks: dict[Stage, TaskID] = {}
        self._whole = self._bars.add_task("whole run", total=None, note="")
        self._last_read = self._last_line = 0.0
        for stage in stages:
            if stage.is_done():
                self.finished(stage, "done already")

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *_) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finished(self, stage: Stage, how: str = "done") -> None:
        """Print that a stage is done, and remove its bar."""
        record = stage.record
        facts = [how]
        if "seconds" in record:
            facts.append(f"{stage.iterations} iterations in {clock(record['seconds'])}")
        for split in ("val", "test"):
            if "bbox_mAP" in record.get(split, {}):
                facts.append(f"{split} AP {record[split]['bbox_mAP']:.3f}")
        self.say(f"{stage.name}: {', '.join(facts)}")
        if stage in self._tasks:
            self._bars.remove_task(self._tasks.pop(stage))

    def update(self, running: Sequence[Stage]) -> None:
        """Show the progress of the running stages, at most once every `REFRESH` seconds."""
        if time.monotonic() - self._last_read < REFRESH:
            return
        self._last_read = time.monotonic()
        notes = []
        for stage in running:
            done, left = stage.iterations_done(), self._estimate.stage(stage)
            note = f"{clock(left)} left"
            if stage.iterations:
                pace = stage.pace()
                note = f"{done}/{stage.iterations}, {f'{1 / pace:.1f} it/s' if pace else 'starting'}, {note}"
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage.name, total=stage.iterations or None, note="")
            self._bars.update(self._tasks[stage], completed=done, note=note)
            notes.append(f"{stage.name} {note}")
        share, left = self._estimate.whole()
        self._bars.update(self._whole, total=1.0, completed=share, note=f"about {clock(left)} left")
        if running and not self._console.is_terminal and time.monotonic() - self._last_line >= INTERVAL:
            self._last_line = time.monotonic()
            self.say(f"{'; '.join(notes)}; whole run: about {clock(left)} left")


def track(items: Sequence, name: str, console: Console) -> Iterator:
    """Iterate over a sequence and show the progress."""
    start = last_line = time.monotonic()
    with _bars(console) as bars:
        task = bars.add_task(name, total=len(items), note="")
        for done, item in enumerate(items):
            yield item
            now = time.monotonic()
            left = clock((now - start) / (done + 1) * (len(items) - done - 1))
            bars.update(task, completed=done + 1, note=f"{done + 1}/{len(items)}, {left} left")
            if not console.is_terminal and now - last_line >= INTERVAL:
                last_line = now
                console.print(f"{name} {done + 1}/{len(items)}, {left} left", highlight=False)


def _bars(console: Console) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[note]}")]
    return Progress(*columns, console=console, transient=True, refresh_per_second=2, disable=not console.is_terminal)
