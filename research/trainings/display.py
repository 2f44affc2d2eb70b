"""Progress and remaining time of a run: bars on a terminal, elsewhere a line every `INTERVAL` seconds."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from .stages import Stage

PACE = 0.08  # seconds per iteration of cost 1 until one is measured: a small detector on two cores
OVERHEAD = 15.0  # seconds per stage besides its iterations: imports, validation, checkpoints


class RemainingTime:
    """Remaining time of stages, of which `jobs` run at once."""

    def __init__(self, stages: Sequence[Stage], jobs: int):
        self._stages = stages
        self._jobs = jobs
        self._start = time.monotonic()
        self._started: dict[Stage, float] = {}

    def stage(self, stage: Stage) -> float:
        """Remaining seconds of a running stage."""
        self._started.setdefault(stage, time.monotonic())
        return self._left(stage, self._unit())

    def whole(self) -> tuple[float, float]:
        """Elapsed share of the run's time, 0 to 1, and remaining seconds."""
        unit = self._unit()
        left = sum(self._left(stage, unit) for stage in self._stages if not stage.is_done()) / self._jobs
        passed = time.monotonic() - self._start
        return passed / (passed + left) if passed + left else 1.0, left

    def _left(self, stage: Stage, unit: float) -> float:
        """Remaining seconds of a stage that is not done, by its own pace once it runs."""
        overhead, pace = OVERHEAD, stage.cost * unit
        if stage in self._started:
            overhead = max(0.0, OVERHEAD - (time.monotonic() - self._started[stage]))
            pace = stage.pace() or pace
        return overhead + (stage.iterations - stage.iterations_done()) * pace

    def _unit(self) -> float:
        """Seconds per iteration of cost 1, the mean over stages with a measured pace."""
        units = [pace / stage.cost for stage in self._stages if stage.cost and (pace := stage.pace())]
        return sum(units) / len(units) if units else PACE


def clock(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


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


def _bars(console: Console) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[note]}")]
    return Progress(*columns, console=console, transient=True, refresh_per_second=2, disable=not console.is_terminal)
