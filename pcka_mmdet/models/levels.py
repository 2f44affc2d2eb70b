"""Which level of the student's neck meets which level of the teacher's.

A level is known by its stride, the pixels of the image that one step in its map spans; it is written `s8`. Indices say
nothing: the first output of one neck has stride 4, that of another 8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

DRY_RUN_SIDES = (256, 512)
"""Side of the zero image of a dry run: two positions at stride 128, and for SSD, which needs 300 pixels or more."""


@dataclass(frozen=True)
class Level:
    """One output of a neck: its place in the tuple, its stride in pixels and its channels."""

    index: int
    stride: int
    channels: int


@dataclass(frozen=True)
class LevelPair:
    """A student's and a teacher's level of the same stride."""

    student: Level
    teacher: Level

    @property
    def stride(self) -> int:
        """Stride of both, in pixels."""
        return self.student.stride


def neck_levels(detector: nn.Module) -> list[Level]:
    """Levels of a detector's neck: what its prior generator and neck declare, else what a dry run measures.

    Raises:
        ValueError: The detector has no neck, or two levels have one stride.
    """
    name = type(detector).__name__
    if getattr(detector, "neck", None) is None:
        raise ValueError(
            f"{name} has no neck, and PCKA compares the outputs of necks: choose a detector with an FPN or another "
            "neck, or give this one a neck, such as neck=dict(type='ChannelMapper', ...)"
        )
    strides, channels = _declared_strides(detector), getattr(detector.neck, "out_channels", None)
    if strides and isinstance(channels, int) and getattr(detector.neck, "num_outs", len(strides)) == len(strides):
        channels = [channels] * len(strides)
    else:
        measured, channels = _measured(detector)
        strides = strides if strides and len(strides) == len(measured) else measured
    if len(set(strides)) < len(strides):
        raise ValueError(f"the neck of {name} has two levels of one stride: {strides}; levels are paired by stride")
    return [Level(i, s, c) for i, (s, c) in enumerate(zip(strides, channels, strict=True))]


def pair_levels(
    student: Sequence[Level], teacher: Sequence[Level], strides: str | Sequence[int] = "auto"
) -> list[LevelPair]:
    """Pairs of equal stride, from fine to coarse.

    Args:
        student: Levels of the student's neck.
        teacher: Levels of the teacher's neck.
        strides: The strides wanted; `'auto'` takes all that both sides have.

    Raises:
        ValueError: A side lacks a stride that is asked for, or the sides have none in common.
    """
    by_stride = [{level.stride: level for level in side} for side in (student, teacher)]
    common = sorted(by_stride[0].keys() & by_stride[1].keys())
    there_is = (
        f"the student's neck has strides {sorted(by_stride[0])}, the teacher's {sorted(by_stride[1])}, "
        f"in common {common}"
    )
    wanted = common if strides == "auto" else list(strides)
    lacking = [stride for stride in wanted if stride not in common]
    if lacking:
        raise ValueError(f"no pair of levels at stride {lacking}: {there_is}. Leave these out of `strides`")
    if not wanted:
        raise ValueError(f"no level to distil: {there_is}. Choose a teacher that shares a stride with the student")
    return [LevelPair(by_stride[0][stride], by_stride[1][stride]) for stride in wanted]


def _declared_strides(detector: nn.Module) -> list[int] | None:
    """Strides of the prior generator, where they are whole numbers: YOLACT's are quotients of an image's side."""
    head = getattr(detector, "rpn_head", None) or getattr(detector, "bbox_head", None)
    strides = getattr(getattr(head, "prior_generator", None), "strides", None) or []
    strides = [stride[0] if isinstance(stride, Sequence) else stride for stride in strides]
    return strides if strides and all(isinstance(stride, int) for stride in strides) else None


def _measured(detector: nn.Module) -> tuple[list[int], list[int]]:
    """Strides and channels of the maps that a zero image gives."""
    training = detector.training
    detector.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            side, maps = _dry_run(detector, *DRY_RUN_SIDES)
    finally:
        detector.train(training)
    return [round(side / m.shape[-1]) for m in maps], [m.shape[1] for m in maps]


def _dry_run(detector: nn.Module, side: int, *larger: int) -> tuple[int, Sequence[Tensor]]:
    """The first side that the detector can take, and its maps."""
    image = torch.zeros(1, 3, side, side, device=next(detector.parameters()).device)
    try:
        return side, detector.extract_feat(image)
    except RuntimeError:
        if not larger:
            raise
    return _dry_run(detector, *larger)
