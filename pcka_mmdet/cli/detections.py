"""Annotated test images of several trainings: `pcka-mmdet detections NAME=DIR ...`.

Trainings that were not tested yet are tested first.
"""

import argparse

from pcka_mmdet.report.gallery import plot_gallery
from pcka_mmdet.report.run import check_same_data
from pcka_mmdet.report.tested import tested

from .arguments import add_picture_argument, add_runs_argument, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_runs_argument(parser)
    parser.add_argument("--images", type=positive, default=3, help="evenly spaced in the set (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.3, help="lowest score shown (default: %(default)s)")
    add_picture_argument(parser, "detections.png")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    runs = tested(list(args.runs.values()))
    check_same_data(runs)
    plot_gallery(dict(zip(args.runs, runs, strict=True)), args.out, args.images, args.threshold)
    print(f"the plot is {args.out}")
