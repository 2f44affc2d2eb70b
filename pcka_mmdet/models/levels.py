"""Levels of a model, and pairs of student and teacher levels of equal stride.

A level is named by its stride, the number of image pixels per position of its map, such as `s8`. An index does not
identify a level: the first output of one neck has stride 4, that of another 8.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .attempts import tried
from .detector_parts import dense_head, stages
from .queries import has_queries
from .sources import listed
from .training_state import forked_rng

DRY_RUN_SIDES = (256, 512, 224)
"""Sides of a dry run's image: 256 gives two positions at stride 128, SSD needs 300, some classifiers take only 224."""


@dataclass(frozen=True)
class Level:
    """One output of a source: index in the record, stride in pixels, channels.

    `channels` are those of the input maps for `head`, the number of classes for `logits`, the width for `queries`.
    `logits`, the stages of `roi_head`, the layers of `queries` and the vectors of a classifier's pooling neck have no
    stride.
    """

    index: int
    stride: int | float | None
    channels: int | None
    scale: int = 1
    """Side of the model's images over that of the student's; `stride` is in the student's pixels."""

    @property
    def own_stride(self) -> int | None:
        """Stride in pixels of the model's own images."""
        return self.stride and round(self.stride * self.scale)

    @property
    def name(self) -> str:
        """`s8` at stride 8; without strides `stage0` and so on, or `layer-1` for the last layer."""
        if self.stride is not None:
            return f"s{self.stride}"
        return f"layer{self.index}" if self.index < 0 else f"stage{self.index}"


class LevelPair(NamedTuple):
    """A student's and a teacher's level of one stride."""

    student: Level
    teacher: Level

    @property
    def stride(self) -> int | None:
        return self.student.stride

    @property
    def name(self) -> str:
        return self.student.name


def source_levels(model: nn.Module, source: str, scale: int = 1) -> list[Level]:
    """Levels of one of a model's sources (see `pcka_mmdet.models.sources`). `scale` is that of `Level`.

    Raises:
        ValueError: The model lacks the source, or two levels have one stride.
    """
    if source == "backbone":
        return _levels(model, source, *_measured(model, lambda image: model.backbone(image)), scale)
    if source == "logits":
        return [Level(0, None, _logits_width(model))]
    if source == "roi_head":
        if getattr(model, "roi_head", None) is None:
            raise ValueError(f"{type(model).__name__} has no RoI head, so there is no source 'roi_head'")
        return [Level(i, None, None) for i in range(len(stages(model.roi_head, "bbox_head")))]
    if source == "predictions":
        return []
    if source == "head":
        dense_head(model)
    if source in ("memory", "decoder") or source.startswith("queries"):
        if not has_queries(model):
            raise ValueError(f"{type(model).__name__} is no DETR: it has no source {source!r}")
        channels = model.encoder.embed_dims
        if source != "memory":  # counted from the last one, so that it is compared whatever their number
            return [Level(-1 - i, None, channels) for i in range(len(model.decoder.layers))]
        return [replace(level, channels=channels) for level in neck_levels(model, scale)]
    return neck_levels(model, scale)


def neck_levels(detector: nn.Module, scale: int = 1) -> list[Level]:
    """Levels of a detector's neck: as its prior generator and neck declare, else as a dry run measures. `scale` is that
    of `Level`.

    Raises:
        ValueError: The detector has no neck, or two levels have one stride.
    """
    if getattr(detector, "neck", None) is None:
        raise ValueError(
            f"{type(detector).__name__} has no neck: compare maps of the backbone (source='backbone' in a loss on "
            "maps, such as PCKALoss), or give it a neck, such as neck=dict(type='ChannelMapper', ...)"
        )
    strides, channels = _declared_strides(detector), getattr(detector.neck, "out_channels", None)
    if strides and isinstance(channels, int) and getattr(detector.neck, "num_outs", len(strides)) == len(strides):
        channels = [channels] * len(strides)
    else:
        measured, channels = _measured(detector, detector.extract_feat)
        strides = strides if len(strides) == len(measured) else measured
    return _levels(detector, "neck", strides, channels, scale)


def read_strides(option: str, given: Any) -> str | list:
    """An option that names levels: `'auto'`, `'finest'`, or their strides, each once."""
    if given in ("auto", "finest"):
        return given
    strides = [given] if isinstance(given, int) else given
    if not isinstance(strides, (list, tuple)) or not strides or len(set(strides)) < len(strides):
        raise ValueError(
            f"{option} is 'auto', 'finest' (two levels), or a list of different strides such as [8, 16]; got {given!r}"
        )
    return list(strides)


def choose_strides(strides: str | Sequence[int], there_are: Sequence) -> Sequence:
    """The strides that an option names, of those there are from fine to coarse."""
    if strides == "auto":
        return there_are
    return there_are[:2] if strides == "finest" else strides


def pair_levels(
    student: Sequence[Level],
    teacher: Sequence[Level],
    strides: str | Sequence[int] = "auto",
    sources: tuple[str, str] = ("neck", "neck"),
) -> list[LevelPair]:
    """Pairs of equal stride, from fine to coarse; for sources without strides, pairs of equal index.

    `strides='auto'` takes all that both sides have, `'finest'` the finest two of these. The `sources` of both sides are
    for the messages.

    Raises:
        ValueError: A side lacks a wanted stride, or the sides have none in common.
    """
    if all(level.stride is None for level in (*student, *teacher)):
        return [LevelPair(*pair) for pair in zip(student, teacher, strict=False)]
    students, teachers = ({level.stride: level for level in side} for side in (student, teacher))
    common = sorted(students.keys() & teachers.keys())
    teacher_source = "" if sources[1] == sources[0] else f"{sources[1]} "
    there_is = (
        f"the student's {sources[0]} has strides {sorted(students)}, the teacher's {teacher_source}{sorted(teachers)}, "
        f"in common {common}"
    )
    wanted = choose_strides(strides, common)
    lacking = [stride for stride in wanted if stride not in common]
    if lacking:
        raise ValueError(f"no pair of levels at stride {lacking}: {there_is}. Leave these out of `strides`")
    if not wanted:
        raise ValueError(f"no level to distil: {there_is}. Choose a teacher that shares a stride with the student")
    return [LevelPair(students[stride], teachers[stride]) for stride in wanted]


def _levels(
    model: nn.Module, part: str, strides: Sequence[int | None], channels: Sequence[int], scale: int
) -> list[Level]:
    """The levels of a part of a model, with strides in the student's pixels."""
    known = [stride for stride in strides if stride is not None]
    if len(set(known)) < len(known):
        raise ValueError(
            f"the {part} of {type(model).__name__} has two levels of one stride: {list(strides)}; levels are paired by "
            "stride"
        )
    scaled = [s if s is None else s // scale if s % scale == 0 else s / scale for s in strides]
    return [Level(i, s, c, scale) for i, (s, c) in enumerate(zip(scaled, channels, strict=True))]


def _declared_strides(detector: nn.Module) -> list[int]:
    """Strides of the prior generator; none unless they are integers: YOLACT's are fractions of the image's side."""
    head = getattr(detector, "rpn_head", None) or getattr(detector, "bbox_head", None)
    strides = getattr(getattr(head, "prior_generator", None), "strides", None) or []
    strides = [stride[0] if isinstance(stride, Sequence) else stride for stride in strides]
    return strides if all(isinstance(stride, int) for stride in strides) else []


def _logits_width(model: nn.Module) -> int:
    if getattr(model, "head", None) is None:
        raise ValueError(f"{type(model).__name__} is no classifier (it has no `head`), so there is no source 'logits'")
    classes = getattr(model.head, "num_classes", None)
    if isinstance(classes, int):
        return classes
    return _dry_run(model, lambda image: model.head(model.extract_feat(image)))[1].shape[-1]


def _measured(model: nn.Module, forward: Callable[[Tensor], Any]) -> tuple[list[int | None], list[int]]:
    """Strides and channels of the outputs for a zero image: maps, or vectors, which have no stride."""
    side, outputs = _dry_run(model, lambda image: listed(forward(image)))
    if not all(isinstance(output, Tensor) for output in outputs):
        raise ValueError(f"{type(model).__name__} gives nested outputs there, which are no maps: read another source")
    return [round(side / o.shape[-1]) if o.dim() == 4 else None for o in outputs], [o.shape[1] for o in outputs]


@torch.no_grad()
def _dry_run(model: nn.Module, forward: Callable[[Tensor], Any]) -> tuple[int, Any]:
    """The first of `DRY_RUN_SIDES` that the model accepts, and the output of `forward` for a zero image."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    refused: list[Exception] = []
    try:
        for channels, side in itertools.product((3, 1), DRY_RUN_SIDES):
            image = torch.zeros(1, channels, side, side, device=device)
            with forked_rng():
                output, error = tried(partial(forward, image), RuntimeError, AssertionError)  # MLP-Mixer asserts
            if error is None:
                return side, output
            refused.append(error)
    finally:
        model.train(training)
    raise ValueError(
        f"{type(model).__name__} takes no image of {DRY_RUN_SIDES} pixels, neither of 3 channels nor of 1: {refused[0]}"
    ) from refused[0]
