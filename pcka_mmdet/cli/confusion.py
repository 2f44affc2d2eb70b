"""Confusion matrices of trainings on their test images: `pcka-mmdet confusion NAME=DIR ...`."""

import argparse

from pcka_mmdet.report.pictures import confusion_figure, confusion_matrix
from pcka_mmdet.report.run import comparable_runs

from .arguments import add_picture_argument, add_runs_argument, share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runs_argument(parser)
    parser.add_argument("--threshold", type=share, default=0.3, help="lowest score that counts (default: %(default)s)")
    add_picture_argument(parser, "confusion.png")


def run(args: argparse.Namespace) -> None:
    runs = comparable_runs(args.runs)
    matrices = {name: confusion_matrix(run.matches, args.threshold) for name, run in runs.items()}
    confusion_figure(matrices, next(iter(runs.values())).matches.classes).savefig(args.out, dpi=128)
    for name, matrix in matrices.items():
        matched, correct = matrix[:-1, :-1].sum(), matrix[:-1, :-1].trace()
        print(
            f"{name}: {correct} right, {matched - correct} of another class, {matrix[:-1, -1].sum()} objects missed, "
            f"{matrix[-1].sum()} detections without an object"
        )
    print(f"the plot is {args.out}")
