"""Similarity of the maps of student and teacher, for the log. For CKA, positions are samples and channels features."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .cka import MIN_SAMPLES, SampleForm, cka

MAX_POSITIONS = 2048
"""Positions of a pair of maps that are compared, as many of each image, spread evenly."""


def similarities(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """Similarities of two maps `(B, C, H, W)`; the teacher's is resized to the student's height and width.

    Returns:
        `cka` (in [0, 1], centred) and `cka_debiased` (in [-1, 1]), both from 4 positions on; `norm_ratio` (root mean
        square of the student's values over the teacher's); for equal channels, `cosine` (its mean over positions).
    """
    x, y = _positions([student, teacher], student.shape[2:])
    values = {"norm_ratio": x.square().mean().sqrt() / y.square().mean().sqrt()}
    if len(x) >= MIN_SAMPLES["debias"]:
        values.update(cka=cka(x, y), cka_debiased=cka(x, y, "debias"))
    if x.shape == y.shape:
        values["cosine"] = F.cosine_similarity(x, y).mean()
    return values


class LevelMatrix:
    """Debiased CKA of each of the student's maps with each of the teacher's, over batches.

    The unbiased estimates HSIC_1 of the batches are summed before the quotient is taken (Nguyen, Raghu and Kornblith
    2021, eq. 3): up to noise, the result does not depend on the size of the batches. `shape` holds the numbers of the
    student's and of the teacher's maps.
    """

    def __init__(self, shape: tuple[int, int]):
        self.sums = torch.zeros(3, *shape, dtype=torch.float64)
        """Sums of HSIC_1: student with teacher, student with itself, teacher with itself. Those of processes add up."""

    def add(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        """Add a batch of maps `(B, C, H, W)`. The finer map of a pair is pooled to the coarser one's size."""
        for i, student_map in enumerate(student):
            for j, teacher_map in enumerate(teacher):
                x, y = _positions([student_map, teacher_map], min(student_map.shape[2:], teacher_map.shape[2:]))
                if (n := len(x)) >= MIN_SAMPLES["debias"]:
                    k, el = (SampleForm.gram((z - z.mean(0)).unsqueeze(0), "debias")[0] for z in (x, y))
                    estimates = [(a * b).sum() / (n * (n - 3)) for a, b in ((k, el), (k, k), (el, el))]
                    self.sums[:, i, j] += torch.stack(estimates).cpu().double()

    def values(self) -> Tensor:
        """CKA of each pair, float64; NaN where a map was constant, or no batch was large enough."""
        both, student, teacher = self.sums
        return both / (student * teacher).sqrt()


def _positions(maps: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
    """Positions by channels, `(N, C)` in float32, of maps brought to one height and width."""
    maps = [_pooled(m.detach(), size) for m in maps]
    count, most = size[0] * size[1], max(1, MAX_POSITIONS // len(maps[0]))
    if count > most:
        chosen = torch.linspace(0, count - 1, most, device=maps[0].device).long()
        maps = [m.flatten(2)[:, :, chosen] for m in maps]
    return [m.flatten(2).transpose(1, 2).flatten(0, 1).float() for m in maps]


def _pooled(feature_map: Tensor, size: Sequence[int]) -> Tensor:
    if feature_map.shape[2:] == size:
        return feature_map
    return F.adaptive_avg_pool2d(feature_map, (size[0], size[1]))


def local_cka(student: Tensor, teacher: Tensor, side: int = 4) -> Tensor:
    """Debiased CKA within each patch, with the patch's positions as samples: where the maps are alike.

    Args:
        student: `(1, C, H, W)`.
        teacher: `(1, D, H', W')`, resized to the student's height and width.
        side: Side of a patch in positions, at most that of the map. Evenly spaced patches cover the map; they overlap
            where its height or width is no multiple of the side.

    Returns:
        `(rows, columns)`, in [-1, 1]; NaN where a patch has fewer than 4 positions.
    """
    size = student.shape[2:]
    side = max(1, min(side, *size))
    rows, columns = (torch.linspace(0, length - side, -(-length // side)).round().long() for length in size)
    if side**2 < MIN_SAMPLES["debias"]:
        return torch.full((len(rows), len(columns)), torch.nan)
    maps = (m[0].detach().float() for m in (student, _pooled(teacher, size)))
    windows = (m.unfold(1, side, 1).unfold(2, side, 1) for m in maps)
    x, y = (m[:, rows][:, :, columns].flatten(3).permute(1, 2, 3, 0).flatten(0, 1) for m in windows)
    return cka(x, y, "debias").reshape(len(rows), len(columns))
