"""A progress bar on a terminal, and the gain over a baseline."""

import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pcka_mmdet.checkpoints.student import student_path
from pcka_mmdet.configuration.data_set import METRIC, evaluators, find_metric
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows a bar with the time left and the AP so far, in the first process, where the output is a terminal.

    Lines of the log appear above the bar. With a baseline, the gain over it is shown beside the AP, and logged after
    the training.

    Args:
        baseline: AP of the student alone.
        value: AP of the last validation before the training was resumed; shown until the next one.
        metric: End of the name of another metric that is shown in place of AP.
        console: Where the bar is drawn; by default stdout.
    """

    priority = "LOW"  # after the metrics are there

    def __init__(
        self,
        baseline: float | None = None,
        value: float | None = None,
        metric: str = METRIC,
        console: Console | None = None,
    ):
        self.baseline = baseline
        self.metric = metric
        self.console = console or Console()
        self._bar: Progress | None = None
        self._value = value
        self._trained = False

    def before_train(self, runner: Runner) -> None:
        """Show the bar at the iteration that the training begins with."""
        self._start("training", runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move it on."""
        self._move(runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Show the AP."""
        found = find_metric(metrics, self.metric)
        if found is not None:
            _, self._value = found
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], said=self.said)

    def after_train(self, runner: Runner) -> None:
        """Take the bar away, and log the gain."""
        self._trained = True
        self.stop()
        if self.baseline is not None and self._value is not None:
            runner.logger.info(self.said)

    def after_run(self, runner: Runner) -> None:
        """Log what to do after a training: the student's file, and the command of the report."""
        if self._trained and (text := _next_step(runner)):
            runner.logger.info(text)

    def before_test(self, runner: Runner) -> None:
        """Show a bar for the images of the test."""
        self._start("test", len(runner.test_dataloader), 0)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move it on."""
        self._move(batch_idx + 1)

    def after_test(self, runner: Runner) -> None:
        """Take it away."""
        self.stop()

    @property
    def said(self) -> str:
        """The AP and, with a baseline, the gain."""
        if self._value is None:
            return ""
        text = f"{'AP' if self.metric == METRIC else self.metric} {self._value:.3f}"
        if self.baseline is None:
            return text
        return f"{text}, {self._value - self.baseline:+.3f} over the baseline's {self.baseline:.3f}"

    def stop(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            _redirect_logs()

    def _start(self, what: str, total: int, done: int) -> None:
        if not (self.console.is_terminal and is_main_process()):
            return
        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._bar = Progress(*columns, console=self.console)
        self._bar.add_task(what, total=total, completed=done, said=self.said)
        self._bar.start()
        _redirect_logs()

    def _move(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)


def _next_step(runner: Runner) -> str:
    """The file that the training has left, the best if there is one, and the command that reports it; empty where the
    training keeps no checkpoint."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    newest = Path(runner.work_dir) / "last_checkpoint"
    kept = getattr(hook, "best_ckpt_path", None) or (newest.read_text().strip() if newest.is_file() else None)
    if kept is None:
        return ""
    student = student_path(kept)
    text = f"the student is {student}" if student.is_file() else f"the detector is {kept}"
    tests = evaluators(runner.cfg, "test_evaluator").values()
    kinds = [last_name(metric.get("type")) for metric in tests if isinstance(metric, dict)]
    if not {"CocoMetric", "FasterCocoMetric"} & {*kinds}:
        return text
    baseline = " --baseline STUDENT_ALONE" if is_distillation(runner.cfg) else ""
    return f"{text}; next: pcka-mmdet report {shlex.quote(str(runner.work_dir))}{baseline}"


def _redirect_logs() -> None:
    """Let MMEngine's loggers write to what `sys.stdout` is now: `rich` replaces it while a bar is shown."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.stdout
