"""Plot of some test images: ground truth and the detections of several trainings side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import theme
from .predictions import Boxes, correct, detections, outside_crowds
from .run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 3.0  # inches per image
TEXT = 0.5  # inches for the titles and the note below


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` images, evenly spaced, so that none is hand-picked."""
    wanted = min(wanted, count)
    return [(2 * number + 1) * count // (2 * wanted) for number in range(wanted)]


def plot_gallery(runs: Mapping[str, Run], path: Path, images: int = 3, threshold: float = 0.3) -> None:
    """Draw images as rows; ground truth and trainings as columns. Wrong detections are dashed.

    Args:
        runs: Trainings on the same test images, by column title.
        path: File of the plot.
        images: Number of images.
        threshold: Lowest score of the detections that are shown.

    Raises:
        FileNotFoundError: A test image is missing.
    """
    import cv2
    from matplotlib.figure import Figure

    first = next(iter(runs.values()))
    rows = [first.detections[number]["img_id"] for number in evenly_spaced(len(first.detections), images)]
    files = [first.picture(image) for image in rows]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise FileNotFoundError(f"there is no image {missing[0]!r}: put the test images back, or set data_root")
    pictures = [cv2.imread(str(file))[..., ::-1] for file in files]
    height, width = pictures[0].shape[:2]
    size = (WIDTH * (len(runs) + 1), WIDTH * height / width * len(rows) + TEXT)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    grid = figure.subplots(len(rows), len(runs) + 1, squeeze=False)
    for line, image, picture in zip(grid, rows, pictures):
        true = first.truth[image]
        found = (detections(run.detections_by_image[image], threshold) for run in runs.values())
        shown = [true, *(outside_crowds(boxes, true) for boxes in found)]
        for axes, boxes in zip(line, shown):
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            _draw(axes, boxes, true, first.classes)
    for axes, title in zip(grid[0], ["ground truth", *runs]):
        axes.set_title(title, fontsize=13)
    note = f"detections with a score of {threshold:.0%} or more; dashed: wrong class or place"
    figure.supxlabel(note, fontsize=11)
    figure.savefig(path, dpi=128)


def _draw(axes: "Axes", found: Boxes, true: Boxes, classes: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    right = correct(found, true)
    for number in reversed(range(len(found.labels))):  # the best on top
        (x1, y1, x2, y2), label = found.boxes[number], found.labels[number]
        colour, text = theme.class_colour(label), classes[label]
        if found.scores is not None:
            text += f" {100 * found.scores[number]:.0f}%"
        style = "-" if right[number] else (0, (2, 1))
        axes.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, ec=colour, lw=2, ls=style))
        tag = dict(boxstyle="square,pad=0.12", fc=colour, ec="none")
        # outside the box, but inside the image
        at_right, at_top = x1 > 0.75 * axes.get_xlim()[1], y1 < 0.03 * axes.get_ylim()[0]
        axes.annotate(
            text,
            (x2 - 0.5 if at_right else x1 - 0.5, y1 - 0.5),
            xytext=(0, -2 if at_top else 2),
            textcoords="offset points",
            ha="right" if at_right else "left",
            va="top" if at_top else "bottom",
            fontsize=8,
            color=theme.text_on(colour),
            bbox=tag,
        )
