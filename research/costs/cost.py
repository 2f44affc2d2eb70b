"""What each method costs: `research/costs/cost.py`, milliseconds and MB over the plain step.

All methods take a training step on the same random images in turn, in one run. The weights are random. The memory is
the most that tensors made in a step hold at once. The weights, and what an operator frees itself, are not in it.
"""

import argparse
import copy
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
from pcka_mmdet.models.teacher.optimisation import PRECISIONS
from pcka_mmdet.report.theme import console_table
from research import pair_folder
from research.families.pairs import METHODS as OF_FAMILIES
from research.families.pairs import ROI_HEAD, Method
from research.trainings.students import TEACHER_PRECISION
from research.verdict.methods import HEAD_LOSSES, MAP_LOSSES, OWN_HEAD, TEACHER_HEAD
from tests.live_bytes import LiveBytes

from .measure import interleaved, save
from .steps import stepper, teacher_forward

OF_MMRAZOR: dict[str, dict] = {
    "razor-l2": dict(type="mmrazor.L2Loss", normalize=False),
    "razor-kl": dict(type="mmrazor.KLDivergence"),
    "razor-attention": dict(type="mmrazor.ATLoss", loss_weight=1.0),
    "razor-dist": dict(type="mmrazor.DISTLoss"),
    "razor-channels": dict(type="mmrazor.ChannelWiseDivergence"),
}
LAYOUTS = {
    "razor-kl": dict(layout="rows"),
    "razor-dist": dict(layout="rows"),
    "razor-attention": dict(layout="maps", average="batch"),
    "razor-channels": dict(layout="maps", average="batch"),
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
OF_MAPS = {
    "mmd": dict(type="pcka_mmdet.MMDLoss", patch_size="auto"),
    "mmd-rbf": dict(type="pcka_mmdet.MMDLoss", patch_size="auto", kernel="rbf"),
    "rcka": dict(type="pcka_mmdet.RCKALoss", source="neck"),
}
OF_PROPOSALS = {
    "roi-head": ROI_HEAD,
    "rcka-roi": dict(type="pcka_mmdet.RCKALoss", source="roi_head"),
}

PLAIN = "plain"
"""The student alone."""

METHODS = {
    **{name: Method(dict(one=loss)) for name, loss in (MAP_LOSSES | OF_MAPS | WHOLE | PATCHED).items()},
    **{name: Method(dict(one=loss), None) for name, loss in OF_PROPOSALS.items()},
    **{name: Method(losses) for name, losses in HEAD_LOSSES.items()},
    "both-heads-half": Method(dict(own=OWN_HEAD, head=dict(TEACHER_HEAD, images=0.5))),
    "both-heads-roi": Method(dict(own=OWN_HEAD, head=TEACHER_HEAD, roi=ROI_HEAD), dict(own=1.0, head=1.0)),
    **OF_FAMILIES,
}
"""By name. All gradients but those of proposals are balanced."""

OF_RETINANETS = (
    *(*MAP_LOSSES, *OF_MAPS, *WHOLE, *PATCHED, *HEAD_LOSSES),
    *("both-heads-half", "predictions", "predictions-finest"),
)
"""Methods of the default pair."""

PAIR = pair_folder("bccd/small")
HEADER = ("", "ms", "ms over plain", "over student + teacher", "MB over plain")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What each method costs over the student's step.")
    parser.add_argument("--student", default=str(PAIR / "student.py"), help="config (default: %(default)s)")
    parser.add_argument("--teacher", default=str(PAIR / "teacher.py"), help="config (default: %(default)s)")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        metavar="METHOD",
        default=OF_RETINANETS,
        help=f"of {', '.join(METHODS)} (default: those of the default pair)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default=TEACHER_PRECISION, help="of the teacher")
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
    sides = dict(teacher=teacher, teacher_ckpt="random", teacher_precision=args.precision)
    configs = {PLAIN: student}
    for name in args.methods:
        configs[name] = copy.deepcopy(student)
        METHODS[name].apply(configs[name], **sides)
    data = demo_mm_inputs(args.batch, [(3, *args.size)] * args.batch, num_classes=min(head_classes(student.model)))
    models = {name: build_detector(config.model) for name, config in configs.items()}
    for model in models.values():
        model.init_weights()
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
