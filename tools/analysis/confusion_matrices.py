"""Confusion matrices of trainings on their test images: `tools/analysis/confusion_matrices.py NAME=DIR ...`.

Trainings that were not tested yet are tested first.
"""

import argparse

from pcka_mmdet.commands.picture_arguments import add_picture_argument, add_runs_argument
from pcka_mmdet.commands.short_errors import run_tool
from pcka_mmdet.experiments.tested import tested
from pcka_mmdet.report.confusion import confusion_figure, confusion_matrix
from pcka_mmdet.report.run import check_same_data


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Confusion matrices of trainings on their test images.")
    add_runs_argument(parser)
    parser.add_argument("--threshold", type=float, default=0.3, help="lowest score that counts (default: %(default)s)")
    add_picture_argument(parser, "confusion.png")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
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


if __name__ == "__main__":
    run_tool(main)
