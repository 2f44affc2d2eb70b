"""PCKALoss and its rivals, forward and backward on all neck levels of one batch: `research/costs/loss.py`.

The naive loop is the released code's form: a Python loop over channels that are indexed out of the patches, tr(XX'YY')
for each of three products, and autograd's gradient. The other rivals are the same loop over `unbind` (a fairer rival),
a batched form with autograd's gradient, and MMRazor's PKDLoss. PCKALoss is also timed with its second term. All take
the same maps; PCKALoss and the first three rivals give the same value.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.models import PCKALoss
from pcka_mmdet.report.theme import console_table
from tests.live_bytes import LiveBytes

from .measure import interleaved, save
from .rivals import RIVALS, add_map_arguments, neck_maps, value_and_gradients

TARGETS = {
    "naive loop": "30 or more",
    "loop over unbind": "",
    "batched, autograd": "1.67 or more",
    "PKDLoss": "1.43 or more",
}
"""Target for a rival's time over PCKALoss's."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of PCKALoss against its rivals.")
    add_map_arguments(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-naive", action="store_true", help="skip the loops, which are slow")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/loss.json"))
    return parser.parse_args()


def main() -> None:
    args, console = parse_args(), Console(width=120)
    from mmrazor.models import PKDLoss

    torch.manual_seed(0)
    students, teachers = neck_maps(args.batch, args.channels, args.size, args.patch_size)
    options = dict(patch_size=args.patch_size, centering="none")
    ours = PCKALoss(**options)
    rivals = {name: lambda s, t, f=f: f(s, t, args.patch_size) for name, f in RIVALS.items()}
    if args.without_naive:
        rivals = {"batched, autograd": rivals["batched, autograd"]}
    both_terms = {"PCKALoss, position_weight": PCKALoss(**options, position_weight=10.0)}
    losses = {"PCKALoss": ours, **both_terms, **rivals, "PKDLoss": PKDLoss()}

    value, gradients = value_and_gradients(ours, students, teachers)
    for name, rival in rivals.items():
        other, others = value_and_gradients(rival, students, teachers)
        worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(gradients, others, strict=True))
        console.print(f"{name}: value {other:.6f} against {value:.6f}, gradients within {worst:.1e} of the largest")
    memory = {}
    for name, loss in losses.items():
        with LiveBytes() as live:
            value_and_gradients(loss, students, teachers)
        memory[name] = live.peak / sum(m.nbytes for m in students)
    seconds = interleaved(
        {n: lambda f=f: value_and_gradients(f, students, teachers) for n, f in losses.items()}, args.rounds
    )
    rows = [
        [n, f"{1000 * s:.1f}", f"{s / seconds['PCKALoss']:.2f}", TARGETS.get(n, ""), f"{memory[n]:.2f}"]
        for n, s in seconds.items()
    ]
    header = ["", "ms", "times PCKALoss", "target", "peak memory / student's maps"]
    console.print(
        console_table(header, rows, title=f"batch {args.batch}, {args.size[0]}x{args.size[1]}, {len(students)} levels")
    )
    save(args, seconds=seconds, memory=memory)


if __name__ == "__main__":
    run_tool(main)
