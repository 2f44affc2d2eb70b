"""How similar maps of student and teacher are, in numbers for the log. No loss is made of them.

For CKA, positions are the samples and channels the features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .cka import MinibatchCKA, cka
from .cka_forms import MIN_SAMPLES

MAX_POSITIONS = 2048
"""Positions of a pair of maps that are compared, as many of each image, spread evenly."""


def similarities(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """Similarities of two maps of one stride. A map of fewer than 4 positions in all has no CKA.

    Args:
        student: `(B, C, H, W)`.
        teacher: `(B, D, H', W')`, resized to the student's height and width where they differ.

    Returns:
        `cka` (in [0, 1], centred), `cka_debiased` (in [-1, 1]), `norm_ratio` (root mean square of the student's values
        over the teacher's) and, where both have as many channels, `cosine` (mean over positions of the cosine of the
        two vectors).
    """
    x, y = _positions([student, teacher], student.shape[2:])
    values = {"norm_ratio": x.square().mean().sqrt() / y.square().mean().sqrt()}
    if len(x) >= MIN_SAMPLES["debias"]:
        values.update(cka=cka(x, y), cka_debiased=cka(x, y, "debias"))
    if x.shape == y.shape:
        values["cosine"] = F.cosine_similarity(x, y).mean()
    return values


class LevelMatrix(MinibatchCKA):
    """Debiased CKA of each map of the student with each of the teacher, over batches."""

    def add(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        """Add a batch. Of two maps the finer one is pooled to the coarser one's size."""
        for i, own in enumerate(student):
            for j, other in enumerate(teacher):
                coarser = min(own.shape[2:], other.shape[2:])
                self.update((i, j), *_positions([own, other], coarser))


def _positions(maps: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
    """Positions by channels, `(N, C)` in float32, of maps brought to one height and width."""
    maps = [
        m if m.shape[2:] == size else F.adaptive_avg_pool2d(m, (size[0], size[1])) for m in (m.detach() for m in maps)
    ]
    count, most = size[0] * size[1], max(1, MAX_POSITIONS // len(maps[0]))
    if count > most:
        chosen = torch.linspace(0, count - 1, most, device=maps[0].device).long()
        maps = [m.flatten(2)[:, :, chosen] for m in maps]
    return [m.flatten(2).transpose(1, 2).flatten(0, 1).float() for m in maps]


def local_cka(student: Tensor, teacher: Tensor, side: int = 4) -> Tensor:
    """Debiased CKA within each patch, with the patch's positions as samples: where the maps are alike.

    Args:
        student: `(1, C, H, W)`.
        teacher: `(1, D, H', W')`, resized to the student's height and width where they differ.
        side: Side of a patch in positions; smaller maps are one patch. Patches are evenly spaced over the map; they
            overlap where its height or width is no multiple of the side.

    Returns:
        `(rows, columns)`, in [-1, 1]; NaN where a patch has fewer than 4 positions.
    """
    size = student.shape[2:]
    side = max(1, min(side, *size))
    rows, columns = (torch.linspace(0, length - side, -(-length // side)).round().long() for length in size)
    if side**2 < MIN_SAMPLES["debias"]:
        return torch.full((len(rows), len(columns)), torch.nan)
    if teacher.shape[2:] != size:
        teacher = F.adaptive_avg_pool2d(teacher, (size[0], size[1]))
    windows = (m[0].detach().float().unfold(1, side, 1).unfold(2, side, 1) for m in (student, teacher))
    x, y = (m[:, rows][:, :, columns].flatten(3).permute(1, 2, 3, 0).flatten(0, 1) for m in windows)
    return cka(x, y, "debias").reshape(len(rows), len(columns))
