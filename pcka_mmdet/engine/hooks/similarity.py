"""The similarity of the neck maps of student and teacher, in the log."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn

from pcka_mmdet.functional.map_similarity import LevelMatrix, similarities
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.levels import Level, LevelPair, neck_levels, pair_levels
from pcka_mmdet.models.sources import Record
from pcka_mmdet.registry import HOOKS

from ..runner import fpn_distill
from .console import MEASURED

DISTILLATION_SCALARS = ("distill.", "similarity.", "balance.")
"""Beginnings of the names that only a distillation has in the log."""


@HOOKS.register_module()
class SimilarityHook(Hook):
    """Logs how similar the neck maps of student and teacher are; `tools/train.py` registers it for a distillation.

    In the training, every `interval` iterations and in the last one of each epoch: `similarity.cka_s8`,
    `similarity.cka_debiased_s8`, `similarity.cosine_s8` and `similarity.norm_ratio_s8` for each stride that both have,
    of one batch of the first process, and `similarity.cka`, the mean over strides. At each validation:
    `similarity.cka_s8_teacher_s16` for each level of the student and each of the teacher, the debiased CKA over the
    first batches. No training depends on them. Once the distillation has stopped, its values leave the log.

    Args:
        interval: Iterations from one measurement to the next.
        val_batches: Batches of a validation that are compared, in each process; 0 for none. The teacher runs on them.

    Raises:
        ValueError: `interval` is below 1, or `val_batches` below 0.
    """

    priority = "NORMAL"  # before MMEngine's LoggerHook

    def __init__(self, interval: int = 50, val_batches: int = 8):
        if interval < 1 or val_batches < 0:
            raise ValueError(f"interval is at least 1 and val_batches at least 0, got {interval=}, {val_batches=}")
        self.interval = interval
        self.val_batches = val_batches
        self._model: FPNDistill | None = None
        self._teacher: nn.Module | None = None  # to which levels and pairs belong
        self._levels: tuple[list[Level], list[Level]] = [], []  # of the student and of the teacher
        self._pairs: list[LevelPair] = []
        self._measured: dict[str, Tensor] = {}  # in the current step; on the device until it ends
        self._stopped = False
        self._matrix: LevelMatrix | None = None  # sums of the current validation
        self._recording = ExitStack()
        self._record: Record = {}  # the student's maps of the batch that is validated

    def before_train(self, runner: Runner) -> None:
        self._model = fpn_distill(runner)
        if self._model is not None:
            self._find_pairs()

    def _find_pairs(self) -> list[LevelPair]:
        """Pairs of neck levels of the student and the current teacher; none where the maps do not pair up."""
        if self._teacher is not self._model.teacher:  # several teachers follow one another
            self._teacher, self._levels, self._pairs = self._model.teacher, ([], []), []
            try:
                levels = neck_levels(self._model.student), neck_levels(self._teacher, self._model.teacher_scale)
                pairs = pair_levels(*levels)
            except ValueError as error:
                print_log(f"the similarity of neck maps is not logged: {error}", "current")
                return []
            if all(pair.stride is not None for pair in pairs):
                self._levels, self._pairs = levels, pairs
        return self._pairs

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._model is None or not is_main_process():
            return
        due = runner.iter % self.interval == 0 or self.is_last_train_iter(runner)
        due = due or self.end_of_epoch(runner.train_dataloader, batch_idx)
        if due and self._find_pairs():
            self._model.observe_maps = self._measure  # until a step in which the teacher runs

    @torch.no_grad()
    def _measure(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        for pair in self._find_pairs():
            values = similarities(student[pair.student.index], teacher[pair.teacher.index])
            self._measured.update({f"similarity.{name}_{pair.name}": value for name, value in values.items()})

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Log the measured similarities; once the distillation has stopped, delete its values from the log."""
        if self._model is not None and self._model.distillation_stopped:
            self._clear_log(runner, outputs or {})
        if not self._measured:
            return
        self._model.observe_maps = None
        values = dict(zip(self._measured, torch.stack(list(self._measured.values())).tolist(), strict=True))
        self._measured = {}
        cka = [value for name, value in values.items() if name.startswith("similarity.cka_s")]
        if cka:
            values["similarity.cka"] = sum(cka) / len(cka)
        runner.message_hub.update_info(MEASURED, runner.iter)
        for name, value in values.items():
            runner.message_hub.update_scalar(f"train/{name}", value)

    def _clear_log(self, runner: Runner, outputs: dict) -> None:
        """Delete the distillation's values. The total is logged as a mean, so it starts anew when they stop."""
        scalars = runner.message_hub.log_scalars
        for name in [name for name in scalars if name.partition("/")[2].startswith(DISTILLATION_SCALARS)]:
            del scalars[name]
        if not self._stopped and "loss" in outputs:
            scalars.pop("train/loss", None)
            runner.message_hub.update_scalar("train/loss", outputs["loss"])
        self._stopped = True

    def before_val_epoch(self, runner: Runner) -> None:
        stopped = self._model is None or self._model.distillation_stopped or not self._find_pairs()
        self._matrix = None if stopped or not self.val_batches else LevelMatrix(tuple(map(len, self._levels)))

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._matrix is not None and batch_idx < self.val_batches:
            self._record = self._recording.enter_context(self._model.distiller.recorder.recording())

    @torch.no_grad()
    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        if self._matrix is None or batch_idx >= self.val_batches:
            return
        self._recording.close()
        record, self._record = self._record, {}  # the maps are held no longer than their batch
        if "neck" not in record:  # another model is validated, as by MMRazor's loop
            return
        batch = self._model.data_preprocessor(data_batch, False)
        teacher = self._model.teacher_maps(batch["inputs"], batch["data_samples"])
        sides = zip((record["neck"], teacher), self._levels, strict=True)
        self._matrix.add(*([maps[level.index] for level in levels] for maps, levels in sides))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._matrix is None:
            return
        all_reduce(self._matrix.sums)
        values, (rows, columns) = self._matrix.values(), self._levels
        for i, j in values.isfinite().nonzero().tolist():
            name = f"similarity.cka_{rows[i].name}_teacher_{columns[j].name}"
            runner.message_hub.update_scalar(f"val/{name}", values[i, j].item())
