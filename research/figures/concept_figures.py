"""Draw the figures of docs/concepts.md: `research/figures/concept_figures.py`."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.functional import cka, extract_patches
from pcka_mmdet.report import theme

STUDENT, TEACHER, LOSS = (
    theme.METHOD_COLOURS["student"],
    theme.METHOD_COLOURS["teacher"],
    theme.METHOD_COLOURS["distilled"],
)


def box(axes, x: float, y: float, text: str, colour: str, width: float = 1.5, height: float = 0.6) -> None:
    """A box with a text, its centre at (x, y)."""
    corner = x - width / 2, y - height / 2
    axes.add_patch(Rectangle(corner, width, height, facecolor=colour, edgecolor="none", alpha=0.85))
    axes.text(x, y, text, ha="center", va="center", color=theme.text_on(colour), fontsize=9)


def arrow(axes, begin: tuple[float, float], end: tuple[float, float], **style) -> None:
    """An arrow between two points."""
    options = dict(arrowstyle="-|>", mutation_scale=11, color="0.4", lw=1.2) | style
    axes.add_patch(FancyArrowPatch(begin, end, **options))


def canvas(width: float, height: float) -> tuple[Figure, object]:
    """A figure without axes, one unit an inch."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    return figure, axes


def pairing() -> Figure:
    """A P2-P6 teacher and a P3-P7 student, paired by stride and by index."""
    figure, axes = canvas(8, 3.4)
    teacher, student = [4, 8, 16, 32, 64], [8, 16, 32, 64, 128]
    for offset, title, partner in ((0, "by stride", None), (4.2, "by index", dict(zip(student, teacher, strict=True)))):
        axes.text(offset + 1.9, 3.25, title, ha="center", weight="bold")
        for x, name, strides, colour in ((1, "student", student, STUDENT), (2.8, "teacher", teacher, TEACHER)):
            axes.text(offset + x, 2.95, name, ha="center", fontsize=9)
            for row, stride in enumerate(strides):
                box(axes, offset + x, 2.6 - 0.55 * row, f"stride {stride}", colour, 1.1, 0.4)
        for row, stride in enumerate(student):
            other = stride if partner is None else partner[stride]
            if other in teacher:
                right = other == stride
                begin = offset + 1.6, 2.6 - 0.55 * row
                end = offset + 2.2, 2.6 - 0.55 * teacher.index(other)
                arrow(axes, begin, end, arrowstyle="<->", color="#117733" if right else "#cc3311")
    return figure


def patches() -> Figure:
    """A channel cut into patches, the matrix of patches, and its Gram matrix."""
    generator = torch.Generator().manual_seed(0)
    waves = torch.sin(torch.arange(16) / 2.5)
    channel = waves[:, None] + waves[None].flip(1) + 0.3 * torch.randn(16, 16, generator=generator)
    rows = extract_patches(channel[None, None], 4)[0]
    centred = rows - rows.mean(0)
    figure = Figure(figsize=(8, 2.5), layout="constrained")
    images = (
        (channel, "a channel, 16x16,\ncut into patches of 4x4"),
        (rows, "16 patches by 16 values:\nthe rows are the samples"),
        (centred @ centred.T, "Gram matrix: how alike\nis each patch to each other"),
    )
    for axes, (values, title) in zip(figure.subplots(1, 3), images, strict=True):
        axes.imshow(values, cmap="viridis")
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        if values is channel:
            for edge in (3.5, 7.5, 11.5):
                axes.axhline(edge, color="white")
                axes.axvline(edge, color="white")
    return figure


def centrings() -> Figure:
    """CKA of maps that have nothing in common, by number of patches."""
    generator = torch.Generator().manual_seed(0)
    counts = [4, 8, 16, 32, 64, 128, 256]
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axes = figure.subplots()
    for centering, colour in zip(("none", "center", "debias"), theme.LEVEL_COLOURS, strict=False):
        values = []
        for count in counts:  # after a ReLU, as many necks give
            x, y = (torch.randn(32, count, 32, generator=generator).relu() for _ in range(2))
            values.append(cka(x, y, centering).mean().item())
        axes.plot(counts, values, marker="o", ms=4, color=colour, label=f'centering="{centering}"')
    axes.axhline(0, color="0.7", lw=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, map(str, counts))
    axes.set_xlabel("patches")
    axes.set_ylabel("CKA of unrelated maps")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def step() -> Figure:
    """What runs in a step with the recipe both-heads."""
    figure, axes = canvas(8.6, 3.3)
    for x, name in ((1.9, "backbone, neck"), (4.3, "neck maps"), (7.2, "head's outputs")):
        box(axes, x, 2.6, name, STUDENT, 1.8)
        box(axes, x, 0.6, name, TEACHER, 1.8)
    axes.text(0.05, 2.6, "student", va="center")
    axes.text(0.05, 0.6, "teacher,\nfrozen", va="center")
    for y in (2.6, 0.6):
        arrow(axes, (2.8, y), (3.4, y))
        arrow(axes, (5.2, y), (6.3, y))
    box(axes, 5.1, 1.6, "teacher's head on\nthe student's maps", TEACHER, 1.7, 0.7)
    arrow(axes, (4.4, 2.3), (4.9, 1.95))
    box(axes, 7.75, 1.6, "compare", LOSS, 1.0, 0.5)
    arrow(axes, (5.95, 1.6), (7.25, 1.6))
    arrow(axes, (7.6, 2.3), (7.75, 1.85))
    arrow(axes, (7.6, 0.9), (7.75, 1.35))
    axes.text(7.2, 3.05, "the task's losses", ha="center", fontsize=9)
    axes.text(
        0.05,
        1.6,
        "Both gradients meet at the student's\nneck maps and head's outputs, where\n"
        "distillation's is scaled to the task's norm.",
        va="center",
        fontsize=9,
    )
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "pairing": pairing,
    "patches": patches,
    "centrings": centrings,
    "step": step,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the figures of docs/concepts.md.")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder (default: %(default)s)")
    args = parser.parse_args()
    for name, draw in FIGURES.items():
        draw().savefig(args.out / f"concept_{name}.png", dpi=110, facecolor="white")


if __name__ == "__main__":
    run_tool(main)
