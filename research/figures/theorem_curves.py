"""The two sides of the paper's Theorem 2 along a training: `research/figures/theorem_curves.py work_dirs/theorem`.

The training is that of research/configs/demo/theorem.py, whose two levels have 64 patches each.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from pcka_mmdet.cli.arguments import add_picture_argument
from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.report import theme
from pcka_mmdet.report.curves import smooth
from pcka_mmdet.report.scalars import read_scalars, training_records

PATCHES = 64
STRIDES = (8, 16)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The two sides of Theorem 2 along a training.")
    parser.add_argument("work_dir", type=Path, help="work directory of a training of research/configs/demo/theorem.py")
    add_picture_argument(parser, "docs/images/theorem.png")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    records = [record for record in training_records(read_scalars(args.work_dir)) if "distill.loss_mmd_s8" in record]
    if not records:
        raise ValueError(
            f"{str(args.work_dir)!r} holds no log of MMD: train research/configs/demo/theorem.py there first"
        )
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    iterations = [record["iter"] for record in records]
    for axes, stride in zip(figure.subplots(1, len(STRIDES)), STRIDES, strict=True):
        bound = [2 * (1 - record[f"similarity.pcka_s{stride}"]) / PATCHES**2 for record in records]
        mmd = [record[f"distill.loss_mmd_s{stride}"] for record in records]
        for values, label, colour in ((bound, "2 (1 - CKA) / N²", 0), (mmd, "MMD: (mean K - mean L)²", 1)):
            axes.semilogy(*smooth((iterations, values)), lw=2, color=theme.LEVEL_COLOURS[colour], label=label)
        axes.set_title(f"stride {stride}", fontsize=11)
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=9)
        print(f"stride {stride}: bound {bound[0]:.2e} to {bound[-1]:.2e}, MMD {mmd[0]:.2e} to {mmd[-1]:.2e}")
    figure.savefig(args.out, dpi=150)
    print(f"the plot is {args.out}")


if __name__ == "__main__":
    run_tool(main)
