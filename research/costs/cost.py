"""What each method of the comparison costs: `research/costs/cost.py`, milliseconds and MB over the plain step.

All methods take a training step on the same random images in turn, in one run. The weights are random. The memory is
the most that tensors made in a step hold at once. The weights, and what an operator frees itself, are not in it.
"""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from mmdet.testing import demo_mm_inputs
from mmengine.registry import init_default_scope
from rich.console import Console

from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.configuration.detector import build_detector, model_config
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.engine.checks.annotations import head_classes
from pcka_mmdet.report.theme import console_table
from research import pair_folder
from research.methods.methods import HALF_MORE, HEADS_HALF_MORE, LONGER, METHODS, MIDDLE, PLAIN, Method
from tests.live_bytes import LiveBytes

from .measure import interleaved, save
from .steps import stepper, teacher_forward

OF_MMRAZOR: dict[str, dict] = {
    "l2": dict(type="mmrazor.L2Loss", normalize=False),
    "kl": dict(type="mmrazor.KLDivergence"),
    "attention": dict(type="mmrazor.ATLoss", loss_weight=1.0),
    "dist": dict(type="mmrazor.DISTLoss"),
    "channels": dict(type="mmrazor.ChannelWiseDivergence"),
}
LAYOUTS = {
    "kl": dict(layout="rows"),
    "dist": dict(layout="rows"),
    "attention": dict(layout="maps", average="batch"),
    "channels": dict(layout="maps", average="batch"),
}
"""How patches are given to those that they change."""

STRIDES = (8, 16)
"""Levels with patches of more than one position, for losses of MMRazor on whole maps and on patches."""

WHOLE = {name: dict(loss, strides=STRIDES) for name, loss in OF_MMRAZOR.items()}
PATCHED = {
    f"{name}-patched": dict(
        type="pcka_mmdet.PatchedLoss", patch_size="auto", loss=OF_MMRAZOR[name], strides=STRIDES, **layout
    )
    for name, layout in LAYOUTS.items()
}
OURS: dict[str, dict] = {
    "mmd": dict(type="pcka_mmdet.MMDLoss", patch_size="auto"),
    "mmd-rbf": dict(type="pcka_mmdet.MMDLoss", patch_size="auto", kernel="rbf"),
    "rcka": dict(type="pcka_mmdet.RCKALoss", source="neck"),
}
OF_A_ROI_HEAD: dict[str, dict] = {
    "roi-head": dict(type="pcka_mmdet.RoIHeadLoss"),
    "rcka-roi": dict(type="pcka_mmdet.RCKALoss", source="roi_head"),
}
"""For pairs of two-stage detectors alone."""

OTHERS = {
    name: Method({"other": {"loss_weight": 1.0, **loss}})
    for name, loss in (WHOLE | PATCHED | OURS | OF_A_ROI_HEAD).items()
}
"""Losses that the comparison leaves out."""

METHODS_IN_TIME = {
    name: method
    for name, method in METHODS.items()
    if name not in (LONGER, HALF_MORE, HEADS_HALF_MORE) and not method.hooks
} | OTHERS
"""Those that differ in a step; hooks are left out, and with them the methods that have them."""
PAIR = pair_folder("bccd/small")
HEADER = ("", "ms", "ms over plain", "over student + teacher", "MB over plain")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What each method of the comparison costs over the plain step.")
    parser.add_argument("--student", default=str(PAIR / "student.py"), help="config (default: %(default)s)")
    parser.add_argument("--teacher", default=str(PAIR / "teacher.py"), help="config (default: %(default)s)")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS_IN_TIME,
        metavar="METHOD",
        default=[name for name in METHODS_IN_TIME if name not in OF_A_ROI_HEAD],
        help=f"default: all but {' and '.join(OF_A_ROI_HEAD)}, which are for two-stage pairs",
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=[192, 256], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/cost.json"))
    return parser.parse_args()


def main() -> None:
    args, console = parse_args(), Console(width=120)
    logging.disable(logging.INFO)  # a table of levels for each method
    init_default_scope("mmdet")
    torch.manual_seed(0)
    student, teacher = load_config(args.student), model_config(dict(cfg_path=args.teacher))
    for model in (student.model, teacher):
        model.backbone.init_cfg = None
    configs = {
        name: METHODS_IN_TIME[name].apply(student, MIDDLE, dict(teacher=teacher, teacher_ckpt="random"))
        for name in dict.fromkeys([PLAIN, *args.methods])
    }
    data = demo_mm_inputs(args.batch, [(3, *args.size)] * args.batch, num_classes=min(head_classes(student.model)))
    models = {name: build_detector(config.model) for name, config in configs.items()}
    steps = {name: stepper(model, data) for name, model in models.items()}
    memory = {name: _peak(step) for name, step in steps.items()}
    images = models[PLAIN].data_preprocessor(data, True)["inputs"]
    seconds = interleaved(steps | {"teacher": teacher_forward(build_detector(teacher), images)}, args.rounds)
    parts, plain = seconds[PLAIN] + seconds["teacher"], seconds[PLAIN]
    rows = [
        [
            name,
            f"{1000 * seconds[name]:.0f}",
            f"{1000 * (seconds[name] - plain):.0f}",
            f"{seconds[name] / parts:.3f}",
            f"{(memory[name] - memory[PLAIN]) / 1e6:.1f}",
        ]
        for name in steps
    ]
    console.print(console_table(HEADER, rows, title=f"{args.teacher} -> {args.student}, batch {args.batch}"))
    save(args, seconds=seconds, memory=memory)


def _peak(step: Callable[[], object]) -> int:
    """Most bytes that tensors of a step hold, after a first step that made the optimizer's state."""
    step()
    with LiveBytes() as live:
        step()
    return live.peak


if __name__ == "__main__":
    run_tool(main)
