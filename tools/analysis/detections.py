"""Annotated test images of several trainings: `tools/analysis/detections.py NAME=DIR ...`.

Trainings that were not tested yet are tested first.
"""

import argparse

from pcka_mmdet.commands.arguments import positive
from pcka_mmdet.commands.picture_arguments import add_picture_argument, add_runs_argument
from pcka_mmdet.commands.short_errors import run_tool
from pcka_mmdet.experiments.tested import tested
from pcka_mmdet.report.gallery import plot_gallery
from pcka_mmdet.report.run import check_same_data


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Annotated test images of several trainings.")
    add_runs_argument(parser)
    parser.add_argument("--images", type=positive, default=3, help="evenly spaced in the set (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.3, help="lowest score shown (default: %(default)s)")
    add_picture_argument(parser, "detections.png")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    runs = tested(list(args.runs.values()))
    check_same_data(runs)
    plot_gallery(dict(zip(args.runs, runs, strict=True)), args.out, args.images, args.threshold)
    print(f"the plot is {args.out}")


if __name__ == "__main__":
    run_tool(main)
