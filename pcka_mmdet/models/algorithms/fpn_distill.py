"""Distillation of a student detector from a teacher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement
from mmrazor.models.utils import add_prefix
from torch import Tensor, nn

from pcka_mmdet.checkpoints.student import add_student_prefix
from pcka_mmdet.configuration.detector import build_detector, model_config
from pcka_mmdet.registry import MODELS

from ..batches import labelled_first, of_both_sides
from ..distillers.fpn_distiller import TeacherStep
from ..distillers.level_table import level_table
from ..initial_weights import inherit, start_from_checkpoint
from ..losses.level_loss import Batch
from ..recipes import FROM_RECIPE, write_out_recipe
from ..teacher.images import Normalisation, size_divisor
from ..teacher.schedule import TeacherEntry, describe, read_teachers
from ..teacher.teacher import Teacher
from ..training_state import forked_rng, progress
from .nonfinite_guard import NonfiniteGuard, explain


@MODELS.register_module()
class FPNDistill(NonfiniteGuard):
    """A student detector that learns from its task and from a frozen teacher.

    With all loss weights 0 the student trains exactly as without a teacher: it is built and initialised first, and
    teacher and losses draw from a fork of the random state.

    Args:
        architecture: The student: a model dict, a config path, or `dict(cfg_path=..., **overrides)`.
        teacher: The teacher, in the same forms.
        teacher_ckpt: File or URL of the teacher's weights. `'random'` keeps random weights; `None` does so with a
            warning.
        teachers: Several teachers in place of `teacher` and `teacher_ckpt`; see
            `pcka_mmdet.models.teacher.schedule.read_teachers`.
        distiller: Config of the distiller; with a `recipe` only the difference from the recipe's, if any.
        init_student: File or URL of a checkpoint that the student starts from: MMDetection's or a distillation's.
        inherit: Parts that the student copies from the teacher where names and shapes agree, such as
            `('neck', 'bbox_head')`. Like `init_student`, not done when a training is resumed.
        fuse_teacher: Fold the teacher's batch norms into its convolutions, unless that changes the maps.
        teacher_channels_last: Run the teacher in the channels-last memory format, unless that changes the maps.
        teacher_precision: `'fp32'`, `'bf16'`, `'fp16'` or `'auto'`; see `NeckForward`. By default the recipe's, else
            `'fp32'`.
        compile_teacher: Compile the teacher's backbone and neck by `torch.compile`.
        balance: `dict(ratio=..., by_output=False)` scales the losses' gradient to a multiple of the task's; see
            `FPNDistiller.prepare`. With `None` loss weights are constant. By default the recipe's, else `None`.
        recipe: Name of the recipe that gives `distiller`, `balance` and `teacher_precision`; see
            `pcka_mmdet.models.recipes`.
        teacher_scale: Side of the teachers' images over that of the student's, such as 2. `train` makes the images of
            the training pipeline larger; the teachers see them, and the student sees them reduced. A level is paired
            with the teacher's of as many of the student's pixels.
        data_preprocessor: Used where the student's config has none.

    Raises:
        FileNotFoundError: A config or the checkpoint does not exist.
        ValueError: The checkpoint is not the teacher's, a model lacks what a loss reads, levels do not pair up, or
            there are both `teacher` and `teachers`, or neither, or both `teacher_ckpt` and `teachers`.
    """

    def __init__(
        self,
        architecture: str | dict | BaseModel,
        teacher: str | dict | BaseModel | None = None,
        distiller: dict | None = None,
        teacher_ckpt: str | None = None,
        teachers: Sequence[dict] = (),
        init_student: str | None = None,
        inherit: Sequence[str] = (),
        fuse_teacher: bool = True,
        teacher_channels_last: bool = True,
        teacher_precision: str = FROM_RECIPE,
        compile_teacher: bool = False,
        balance: dict | str | None = FROM_RECIPE,
        data_preprocessor: dict | nn.Module | None = None,
        recipe: str | None = None,
        teacher_scale: int = 1,
    ):
        if (teacher is None) == (not teachers) or (distiller is None and recipe is None):
            raise ValueError(
                "FPNDistill needs a recipe or a distiller, and either teacher=... or teachers=[dict(...), ...]"
            )
        if teachers and teacher_ckpt is not None:
            raise ValueError(
                f"teacher_ckpt={teacher_ckpt!r} is a single teacher's: write ckpt=... in each of teachers, and "
                "teacher_ckpt=None"
            )
        settings = dict(architecture=architecture, teacher=teacher, teachers=teachers, teacher_scale=teacher_scale)
        settings |= dict(recipe=recipe, distiller=distiller, balance=balance, teacher_precision=teacher_precision)
        with forked_rng():  # it may build the teacher
            write_out_recipe(settings)
        entries = read_teachers(teachers) if teachers else [TeacherEntry(teacher, teacher_ckpt)]
        if not isinstance(architecture, BaseModel):
            architecture = model_config(architecture)
            if data_preprocessor is not None:  # MMEngine's Runner passes the config's top-level one
                architecture.setdefault("data_preprocessor", data_preprocessor)
        student = build_detector(architecture)
        if type(student.data_preprocessor) is not BaseDataPreprocessor:
            data_preprocessor = None  # the student's is used
        super().__init__(student, data_preprocessor, module_inplace=True)
        options = dict(
            fuse=fuse_teacher,
            channels_last=teacher_channels_last,
            precision=settings.get("teacher_precision", "fp32"),
            compile=compile_teacher,
        )
        with forked_rng():
            # in holders that are no Module: the teachers are in no checkpoint, optimizer or DDP bucket
            self._teachers = [
                Teacher(build_detector(entry.model, plain_norms=True), entry.checkpoint, **options) for entry in entries
            ]
            self.distiller = MODELS.build(settings["distiller"])
            self._prepare_distiller(settings.get("balance"), teacher_scale)
        self.teacher_scale = teacher_scale
        self._divisor = 1 if teacher_scale == 1 else size_divisor(student)
        self._schedule = [replace(entry, model=None) for entry in entries]
        self._normalisation = Normalisation.of(self.data_preprocessor)
        self.init_student = init_student
        self.inherit = [inherit] if isinstance(inherit, str) else list(inherit)
        self.distillation_stopped = False  # for good: set by mmrazor.StopDistillHook and LossScheduleHook
        self.level_table: str | None = None
        """The levels and losses that are compared; known after the first step, which logs it."""
        self.observe_maps: Callable[[Sequence[Tensor], Sequence[Tensor]], None] | None = None
        """Is called with the neck maps of student and teacher if a teacher runs; `SimilarityHook` sets it."""

    def _prepare_distiller(self, balance: Any, scale: int) -> None:
        """Pair the levels of student and teachers, and check that each loss finds what it reads."""
        if not isinstance(balance, Mapping | None) or set(balance or ()) - {"ratio", "by_output"}:
            raise ValueError(
                f"balance is a dict such as dict(ratio=1.0), got {balance!r}: write model.balance.ratio=1.0"
            )
        if not isinstance(scale, int) or scale < 1:
            raise ValueError(f"teacher_scale is a whole number from 1 on, got {scale!r}: write 2")
        if scale > 1 and getattr(self.data_preprocessor, "batch_augments", None):
            raise ValueError(f"teacher_scale={scale} and data_preprocessor.batch_augments both resize: set one")
        detectors = [teacher.detector for teacher in self._teachers]
        self.distiller.prepare(self.student, detectors, **(balance or {}), scale=scale)
        for index, teacher in enumerate(self._teachers):
            teacher.check_sources(self.distiller.teacher_sources(index))
        for term in self.distiller.all_terms:
            term.loss.check_models(self.student, self._teachers[term.sources.teacher_index])
        if scale > 1 and (problem := self.distiller.problem_of_scale()):
            raise ValueError(f"teacher_scale={scale}: {problem}")

    @property
    def student(self) -> nn.Module:
        """The detector that is trained; MMRazor calls it `architecture`."""
        return self.architecture

    @property
    def detector(self) -> nn.Module:
        """The student, under the name that MMDetection's hooks use (`YOLOXModeSwitchHook`)."""
        return self.architecture

    @property
    def teacher(self) -> nn.Module:
        """The frozen detector. Of several: the last one that teaches now and that a loss reads."""
        return self._teacher.detector

    @property
    def _teacher(self) -> Teacher:
        teaching = [index for index, entry in enumerate(self._schedule) if entry.weight_at(progress())]
        needed = [index for index in teaching if self.distiller.needs(index)]
        return self._teachers[(needed or teaching)[-1]]

    def teacher_maps(self, inputs: Tensor, data_samples: list[BaseDataElement] | None) -> Sequence[Tensor]:
        """Maps of the teacher's neck for the student's images `(B, 3, H, W)`, which `teacher_scale` enlarges."""
        if self.teacher_scale > 1:
            inputs = F.interpolate(inputs, scale_factor=self.teacher_scale, mode="bilinear")
            data_samples = None
        return self._teacher(inputs, data_samples, self._normalisation)["neck"]

    @property
    def teacher_sha256(self) -> str | None:
        """sha256 of the teacher's file, or of several with commas between; `None` without local files."""
        hashes = [teacher.sha256 for teacher in self._teachers]
        return ",".join(sha256 or "none" for sha256 in hashes) if any(hashes) else None

    def init_weights(self) -> None:
        """Initialise the student as without a teacher, then load `init_student` and copy the inherited parts."""
        self.architecture.init_weights()
        if self.init_student is not None:
            start_from_checkpoint(self.student, self.init_student)
        if self.inherit:
            inherit(self.student, self._teacher, self.inherit)
        with forked_rng():
            self.distiller.init_weights()
        self._is_init = True

    def loss(self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None) -> dict[str, Tensor]:
        """Losses of the task (`student.*`) and the distillation (`distill.*`), and the latter's metrics."""
        inputs, data_samples, labelled = labelled_first(inputs, data_samples)
        of_teachers, (inputs, data_samples) = of_both_sides(
            inputs, data_samples, self.teacher_scale, self._divisor, self._normalisation.pad_value
        )
        batch = dict(samples=data_samples, image_size=tuple(inputs.shape[2:]), student=self.student)
        steps = [self._teacher_step(index, batch, *of_teachers, labelled) for index in range(len(self._teachers))]
        records = [step.record for step in steps]
        shared = self.distiller.shared_queries(records)
        with self.distiller.recorder.recording(labelled, shared) as student:
            losses = add_prefix(self.student(inputs, data_samples and data_samples[:labelled], mode="loss"), "student")
        if self.level_table is None:
            self.level_table = level_table(self.distiller, student)
            print_log(f"compared levels and losses:\n{self.level_table}", "current")
            if len(self._schedule) > 1:
                print_log(describe(self._schedule), "current")
        if self.observe_maps is not None and any(records):
            self.observe_maps(student["neck"], next(filter(None, reversed(records)))["neck"])
        for index, (teacher, record) in enumerate(zip(self._teachers, records, strict=True)):
            if record is not None and "roi_head" in self.distiller.teacher_sources(index):
                with torch.no_grad():
                    record["roi_head"] = teacher.roi_head(record["neck"], [stage.rois for stage in student["roi_head"]])
        distilled = self.distiller.compute_distill_losses(student, steps)
        # a lambda: a deep copy of the model shares it
        self._explain_distillation = lambda: explain(distilled, self.distiller.all_terms, student, records)
        losses.update({f"distill.{k}" if k.startswith("loss_") else k: v for k, v in distilled.items()})
        return losses

    def _teacher_step(
        self,
        index: int,
        batch: dict[str, Any],
        inputs: Tensor,
        data_samples: list[BaseDataElement] | None,
        labelled: int | None,
    ) -> TeacherStep:
        """Run a teacher, unless its weight is 0, the distillation pauses, or no loss needs it. `batch` holds what a
        `Batch` has of the student."""
        teacher, record = self._teachers[index], None
        weight, before = (self._schedule[index].weight_at(progress(ago)) for ago in (0, 1))
        if weight and not self.distillation_stopped and self.distiller.needs(index):
            sources = self.distiller.teacher_sources(index) | ({"neck"} if self.observe_maps else set())
            general, classes = self.distiller.general_queries(index), self.distiller.predicted_classes(index)
            record = teacher(inputs, data_samples, self._normalisation, sources, labelled, general, classes)
        maps, outputs, scores = (record and record.get(source) for source in ("neck", "head", "scores"))
        of_teacher = dict(teacher=teacher, teacher_maps=maps, teacher_outputs=outputs, teacher_scores=scores)
        batch = Batch(**batch, **of_teacher, teacher_scale=self.teacher_scale)
        return TeacherStep(record, batch, weight, changed=bool(weight) != bool(before))

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses as MMEngine does, and log the total over levels of each distillation loss."""
        loss, log = super().parse_losses(losses)
        for name, terms in self.distiller.terms.items():
            log[f"distill.loss_{name}"] = sum(log[f"distill.loss_{term.key}"] for term in terms)
        return loss, log

    def __getattr__(self, name: str) -> Any:
        """The student's parts, for options of MMEngine's runner (`activation_checkpointing=['backbone']`)."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self.__dict__.get("_modules", {}).get("architecture")  # none before MMRazor's constructor
            if student is None or name not in student._modules:
                raise
            return student._modules[name]

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs) -> "FPNDistill":
        for teacher in self._teachers:
            teacher.apply(fn)
        return super()._apply(fn, *args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        for key in [key for key in state_dict if key.startswith(f"{prefix}teacher.")]:
            del state_dict[key]  # from a checkpoint of MMRazor's algorithm
        add_student_prefix(self.student, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
