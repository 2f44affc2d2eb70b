"""What a distiller compares, as one table for the log."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from terminaltables import AsciiTable
from torch import Tensor

from ..levels import Level

if TYPE_CHECKING:
    from .fpn_distiller import FPNDistiller


def level_table(distiller: "FPNDistiller", student_maps: Sequence[Tensor]) -> str:
    """Each stride with the levels of both necks, and what each loss does there.

    Args:
        distiller: A distiller that `prepare` has seen.
        student_maps: Outputs `(B, C, H, W)` of the student's neck: their sizes decide the number of patches.
    """
    student, teacher = ({level.stride: level for level in side} for side in distiller.levels)
    rows = [["stride", "student", "teacher", *distiller.pairs]]
    for stride in sorted({*student, *teacher}):
        size = student_maps[student[stride].index].shape[2:] if stride in student else None
        cells = [_loss(distiller, name, stride, size) for name in distiller.pairs]
        rows.append([f"s{stride}", _level(student.get(stride), size), _level(teacher.get(stride)), *cells])
    return AsciiTable(rows, " levels ").table


def _level(level: Level | None, size: Sequence[int] | None = None) -> str:
    if level is None:
        return "no partner"
    map_size = ", {}x{}".format(*size) if size else ""
    return f"output {level.index}, {level.channels} channels{map_size}"


def _loss(distiller: "FPNDistiller", name: str, stride: int, size: Sequence[int] | None) -> str:
    key = f"{name}_s{stride}"
    if key not in distiller.losses:
        return ""
    loss, factor = distiller.losses[key], distiller.level_weights[key]
    words = [f"weight {loss.loss_weight * factor:g}"]
    if getattr(loss, "position_weight", 0):
        words.append(f"positions {loss.position_weight * factor:g}")
    if hasattr(loss, "num_patches"):
        words.append(f"{loss.num_patches(*size)} patches of {loss.patch_size}")
    if loss.is_degenerate(*size):
        words.append("too few: inactive")
    if key in distiller.connectors:
        connector = distiller.connectors[key]
        words.append(f"connector {connector.in_channels} -> {connector.out_channels}")
    return ", ".join(words)
