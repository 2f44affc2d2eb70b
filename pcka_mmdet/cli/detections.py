"""Test images with the detections of several trainings: `pcka-mmdet detections NAME=DIR ...`."""

import argparse

from pcka_mmdet.report.pictures import plot_gallery
from pcka_mmdet.report.run import comparable_runs

from .arguments import add_picture_argument, add_runs_argument, positive, share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runs_argument(parser)
    parser.add_argument("--images", type=positive, default=3, help="evenly spaced in the set (default: %(default)s)")
    parser.add_argument("--threshold", type=share, default=0.3, help="lowest score shown (default: %(default)s)")
    add_picture_argument(parser, "detections.png")


def run(args: argparse.Namespace) -> None:
    plot_gallery(comparable_runs(args.runs), args.out, args.images, args.threshold)
    print(f"the plot is {args.out}")
