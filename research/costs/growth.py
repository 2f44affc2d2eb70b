"""Cost of the PCKA loss by image size: `research/costs/growth.py`.

For patches by stride (64x64 pixels at every level) and for one patch size, it prints the form of CKA
at each level, its multiply-adds, and the time of the loss over all levels when both sides of the image double.
"""

import argparse
import math
from pathlib import Path

import torch
from rich.console import Console

from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.functional.cka import SampleForm, cheaper_form
from pcka_mmdet.models import PCKALoss
from pcka_mmdet.report.theme import console_table

from .measure import interleaved, save
from .rivals import STRIDES, value_and_gradients

PATCHES = {"64 pixels": {stride: max(1, 64 // stride) for stride in STRIDES}, "16": dict.fromkeys(STRIDES, 16)}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of the PCKA loss by image size.")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument(
        "--size", type=int, nargs=2, default=[400, 672], metavar=("HEIGHT", "WIDTH"), help="the smaller image"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/growth.json"))
    return parser.parse_args()


def main() -> None:
    args, console = parse_args(), Console(width=120)
    torch.manual_seed(0)
    cases, rows = {}, []
    for name, sides in PATCHES.items():
        for times in (1, 2):
            image = [times * side for side in args.size]
            losses, maps = [], []
            for stride, side in sides.items():
                size = [math.ceil(length / stride) for length in image]
                loss = PCKALoss(patch_size=side)
                if loss.problem(size):
                    continue
                losses.append(loss)
                maps.append([torch.randn(args.batch, args.channels, *size) for _ in range(2)])
                samples, features = loss.num_patches(*size), args.batch * side**2
                form = cheaper_form(samples, features, features)
                cost = args.channels * form.multiply_adds(samples, features, features) / 1e6
                growth = "N^2 D" if form is SampleForm else "N D^2"
                level = f"{image[0]}x{image[1]}, patches of {name}, s{stride}"
                rows.append([level, f"{samples}", f"{features}", growth, f"{cost:.1f}"])
            cases[name, times] = losses, maps
    console.print(console_table(["level", "N", "D", "form", "million multiply-adds"], rows))

    def run(losses: list[PCKALoss], maps: list[list[torch.Tensor]]) -> None:
        for loss, (student, teacher) in zip(losses, maps, strict=True):
            value_and_gradients(loss, [student], [teacher])

    seconds = interleaved({case: lambda c=content: run(*c) for case, content in cases.items()}, args.rounds)
    result = {name: [seconds[name, 1], seconds[name, 2], seconds[name, 2] / seconds[name, 1]] for name in PATCHES}
    header = ["patches of", "ms", "ms at twice the sides", "times"]
    rows = [[name, f"{1000 * a:.1f}", f"{1000 * b:.1f}", f"{ratio:.2f}"] for name, (a, b, ratio) in result.items()]
    console.print(console_table(header, rows))
    save(args, seconds=result)


if __name__ == "__main__":
    run_tool(main)
