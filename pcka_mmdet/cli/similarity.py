"""CKA of each level of one detector with each level of another: `tools/similarity.py STUDENT.pth TEACHER.pth`.

The images are the test images of the first checkpoint's config.
"""

import argparse
from pathlib import Path

from rich.console import Console

import pcka_mmdet
from pcka_mmdet.engine.cfg_options import merge_options
from pcka_mmdet.engine.neck_maps import compare_levels
from pcka_mmdet.report.pictures import plot_similarity
from pcka_mmdet.report.theme import console_table

from .arguments import add_cfg_options, add_picture_argument, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoints", nargs=2, metavar="CHECKPOINT", help="checkpoints that hold their configs")
    what = "both configs, for checkpoints that hold none"
    parser.add_argument("--config", nargs=2, metavar="FILE", default=[None, None], help=what)
    parser.add_argument("--images", type=positive, default=100, help="test images to compare (default: %(default)s)")
    add_cfg_options(parser, "override settings of the config")
    add_picture_argument(parser, "similarity.png")


def run(args: argparse.Namespace) -> None:
    models = [pcka_mmdet.load_student(*pair) for pair in zip(args.checkpoints, args.config, strict=True)]
    config = models[0].cfg
    merge_options(config, args.cfg_options)
    matrix, rows, columns = compare_levels(*models, config, args.images)
    titles = tuple(Path(checkpoint).stem for checkpoint in args.checkpoints)
    plot_similarity(matrix.numpy(), rows, columns, titles, args.out)
    cells = [[name, *(f"{value:.3f}" for value in values)] for name, values in zip(rows, matrix.tolist(), strict=True)]
    Console().print(console_table([f"{titles[0]} \\ {titles[1]}", *columns], cells, title="debiased CKA"))
    print(f"the picture is {args.out}")
