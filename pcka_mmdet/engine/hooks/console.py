"""What a training shows: log lines without details, metrics of the last validation, a progress bar."""

import logging
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import LogProcessor, Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from pcka_mmdet.checkpoints.student import student_path
from pcka_mmdet.configuration.data_set import METRIC, by_place, find_metric
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.registry import HOOKS, LOG_PROCESSORS

from ..runner import kept_checkpoints

MEASURED = "similarity_iter"
"""Entry of MMEngine's message hub: the iteration of `SimilarityHook`'s last measurement."""

_DETAIL = re.compile(r"(?<!\S)(\S+_(?:s|stage)\d+|balance\.\S+): \S+\s*")
_CKA = re.compile(r"(?<!\S)similarity\.cka: \S+")


@LOG_PROCESSORS.register_module()
class LevelLogProcessor(LogProcessor):
    """MMEngine's log processor, without the values per level and the balance's in console lines.

    The visualizer's files have them. A similarity that was measured in an earlier step is shown with its age.
    """

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        line = _DETAIL.sub("", line).rstrip()
        age = runner.iter - runner.message_hub.get_info(MEASURED, runner.iter)
        return tag, _CKA.sub(rf"\g<0> ({age} steps ago)", line) if age and mode == "train" else line

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        tag, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        return tag, _DETAIL.sub("", line).rstrip()


def shorten_console_lines(config: Config) -> None:
    """Replace MMEngine's log processor by `LevelLogProcessor`; a user's log processor stays."""
    processor = config.get("log_processor") or {}
    if last_name(processor.get("type", "LogProcessor")) == "LogProcessor":
        config.log_processor = {**processor, "type": "pcka_mmdet.LevelLogProcessor"}


@HOOKS.register_module()
class FreshMetricsHook(Hook):
    """Deletes every `val/*` scalar except times before a validation.

    MMEngine would log the last metrics again where a validation gives none: MMDetection's, if nothing was detected.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        scalars = runner.message_hub.log_scalars
        for name in [name for name in scalars if name.startswith("val/") and not name.endswith("time")]:
            del scalars[name]


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows a bar with the time left and the AP so far, in the first process, where the output is a terminal.

    Lines of the log appear above the bar. With a baseline, the gain over it is shown beside the AP, and logged after
    the training. The last line names the student's file and the command that reports it.

    Args:
        baseline: AP of the student without distillation.
        value: AP of the last validation before the training was resumed; shown until the next one.
        metric: End of the name of another metric that is shown in place of AP.
        compare_with: Work directory of the baseline, for the `report` command.
        console: Where the bar is drawn; by default stdout.
    """

    priority = "LOW"  # after the metrics are there

    def __init__(
        self,
        baseline: float | None = None,
        value: float | None = None,
        metric: str = METRIC,
        compare_with: Path | None = None,
        console: Console | None = None,
    ):
        self.baseline = baseline
        self.compare_with = compare_with
        self.metric = metric
        self.console = console or Console()
        self._bar: Progress | None = None
        self._value = value
        self._trains = False

    def before_train(self, runner: Runner) -> None:
        self._trains = True
        self._start("training", runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._update(completed=runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if metric := find_metric(metrics, self.metric):
            self._value = metric[1]
            self._update(summary=self.summary)

    def before_test(self, runner: Runner) -> None:
        self._start("test", len(runner.test_dataloader), 0)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._update(completed=batch_idx + 1)

    def after_run(self, runner: Runner) -> None:
        """Take the bar away. After a training, log the gain, the file and the command."""
        self.stop()
        if self._trains and self.baseline is not None and self._value is not None:
            runner.logger.info(self.summary)
        if self._trains and (text := _next_step(runner, self.compare_with)):
            runner.logger.info(text)

    @property
    def summary(self) -> str:
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

    def _start(self, name: str, total: int, done: int) -> None:
        if not (self.console.is_terminal and is_main_process()):
            return
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, "{task.fields[summary]}", console=self.console)
        self._bar.add_task(name, total=total, completed=done, summary=self.summary)
        self._bar.start()
        _redirect_logs()

    def _update(self, **fields: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], **fields)


def _next_step(runner: Runner, compare_with: Path | None = None) -> str:
    """The best or else the newest file of the training, and the command that reports it; empty without a checkpoint."""
    best, newest = kept_checkpoints(runner)
    kept = best or newest
    if kept is None:
        return ""
    student = student_path(kept)
    text = f"the student is {student}" if student.is_file() else f"the detector is {kept}"
    metrics = by_place(runner.cfg, "test_evaluator").values()
    kinds = {last_name(metric.get("type")) for metric in metrics if isinstance(metric, dict)}
    if "CocoMetric" not in kinds:
        return text
    baseline = shlex.quote(str(compare_with or "STUDENT_ALONE"))
    option = f" --baseline {baseline}" if compare_with or is_distillation(runner.cfg) else ""
    return f"{text}; next: pcka-mmdet report {shlex.quote(str(runner.work_dir))}{option}"


def _redirect_logs() -> None:
    """Let MMEngine's loggers write to the current `sys.stdout`: `rich` replaces it while a bar is shown."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.stdout
