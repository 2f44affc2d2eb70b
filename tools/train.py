"""Train a detector, by distillation or alone: `tools/train.py CONFIG`.

CONFIG is a distillation, or any detector; `--teacher` makes a detector the student of a distillation.
"""

import argparse
import shlex
import sys
from dataclasses import fields

from mmengine.config import Config

from pcka_mmdet.engine.launch import add_common_arguments, runner_config
from pcka_mmdet.engine.recipe import RECIPES, distillation_config
from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.engine.training import TrainingOptions, run_training


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a detector, by distillation or alone.")
    add_common_arguments(parser)
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate to the total batch size; needs auto_scale_lr in the config",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="newest",
        metavar="CHECKPOINT",
        help="resume from CHECKPOINT, by default from the newest in the work directory; 'auto' also starts a new "
        "training if there is none",
    )
    parser.add_argument(
        "--allow-teacher-change", action="store_true", help="resume even if the teacher's file has changed"
    )
    parser.add_argument(
        "--teacher", metavar="CONFIG", help="config of the teacher, to distil the detector of the first CONFIG"
    )
    parser.add_argument("--teacher-ckpt", metavar="FILE", help="weights of --teacher: file or URL")
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        help="losses of the distillation with --teacher (default: both-heads, teacher-head or maps, as suits the pair)",
    )
    parser.add_argument("--init-student", metavar="FILE", help="checkpoint that the student starts from")
    parser.add_argument(
        "--check-teacher",
        nargs="?",
        type=int,
        const=500,
        metavar="N",
        help="first evaluate the teacher on N validation images (default: 500), and stop if its accuracy is too low",
    )
    args = parser.parse_args()
    if bool(args.teacher) != bool(args.teacher_ckpt):
        parser.error("give --teacher CONFIG and --teacher-ckpt FILE together")
    if args.recipe and not args.teacher:
        parser.error("--recipe needs --teacher; a distillation's config already holds its losses")
    return args


def teacher_and_student(args: argparse.Namespace) -> tuple[Config | None, str]:
    """The distillation config of `--teacher`, and a sentence on its recipe; `None` and nothing without that option."""
    if not args.teacher:
        return None, ""
    try:
        return distillation_config(args.config, args.teacher, args.teacher_ckpt, args.recipe, args.cfg_options)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error


def main() -> None:
    args = parse_args()
    distillation, choice = teacher_and_student(args)
    config = runner_config(args, distillation)
    names = [field.name for field in fields(TrainingOptions)]
    notes = [*filter(None, [choice]), f"command: {sys.argv[0]} {shlex.join(sys.argv[1:])}"]
    run_training(config, TrainingOptions(**{name: getattr(args, name) for name in names}), notes)


if __name__ == "__main__":
    run_tool(main)
