"""Repeat a step whose loss was not finite: `tools/replay_nonfinite.py work_dirs/.../nonfinite/iter_N_rank_0.pth`.

It runs on the CPU, in the precision of the training. The file holds boxes, labels and masks of the annotations.
"""

import argparse

from pcka_mmdet.commands.arguments import add_config_argument
from pcka_mmdet.commands.short_errors import run_tool
from pcka_mmdet.engine.nonfinite import replay


def main() -> None:
    parser = argparse.ArgumentParser(description="Repeat a step whose loss was not finite, and print its losses.")
    parser.add_argument("file", help="file that the training saved in work_dir/nonfinite/")
    add_config_argument(parser)
    args = parser.parse_args()
    step = replay(args.file, args.config)
    print("weights that are not finite:", ", ".join(step.weights) or "none")
    for name, value in step.losses.items():
        print(f"{name}: {value:.6g}")
    if step.problem:
        raise FloatingPointError(step.problem)


if __name__ == "__main__":
    run_tool(main)
