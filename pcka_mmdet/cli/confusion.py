"""Confusion matrices of trainings on their test images: `pcka-mmdet confusion NAME=DIR ...`.

Trainings that were not tested yet are tested first.
"""

import argparse

from pcka_mmdet.report.confusion import confusion_figure, confusion_matrix
from pcka_mmdet.report.run import check_same_data
from pcka_mmdet.report.tested import tested

from .arguments import add_picture_argument, add_runs_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_runs_argument(parser)
    parser.add_argument("--threshold", type=float, default=0.3, help="lowest score that counts (default: %(default)s)")
    add_picture_argument(parser, "confusion.png")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    runs = tested(list(args.runs.values()))
    check_same_data(runs)
    classes = runs[0].classes
    matrices = {
        name: confusion_matrix(run.truth, run.detections, len(classes), args.threshold)
        for name, run in zip(args.runs, runs, strict=True)
    }
    confusion_figure(matrices, classes).savefig(args.out, dpi=128)
    for name, matrix in matrices.items():
        right = matrix[:-1, :-1].trace()
        print(
            f"{name}: {right} right, {matrix[:-1, :-1].sum() - right} of another class, "
            f"{matrix[:-1, -1].sum()} objects missed, {matrix[-1].sum()} detections without an object"
        )
    print(f"the plot is {args.out}")
