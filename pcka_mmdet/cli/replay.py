"""Repeat a step whose loss was not finite: `tools/replay_nonfinite.py work_dirs/.../nonfinite/iter_N_rank_0.pth`.

It runs on the CPU, in the precision of the training. The file holds boxes, labels and masks of the annotations.
"""

import argparse

from pcka_mmdet.engine.nonfinite import replay

from .arguments import add_config_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="file that the training saved in work_dir/nonfinite/")
    add_config_argument(parser)


def run(args: argparse.Namespace) -> None:
    step = replay(args.file, args.config)
    print("weights that are not finite:", ", ".join(step.weights) or "none")
    for name, value in step.losses.items():
        print(f"{name}: {value:.6g}")
    if step.problem:
        raise FloatingPointError(step.problem)
