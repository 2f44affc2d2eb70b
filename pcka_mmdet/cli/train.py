"""Train a detector, by distillation or alone: `tools/train.py CONFIG`.

CONFIG is a distillation, or any detector; `--teacher` makes a detector the student of a distillation.
"""

import argparse
import shlex
import sys
from dataclasses import fields
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.engine.checks.teacher_check import check_options
from pcka_mmdet.engine.hooks import ProgressHook
from pcka_mmdet.engine.training import TrainingOptions, run_training
from pcka_mmdet.report.scalars import last_metric

from .arguments import add_amp, add_common_arguments, add_teacher_arguments, config_of_arguments, runner_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_common_arguments(parser)
    add_amp(parser)
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
    add_teacher_arguments(parser)
    parser.add_argument("--init-student", metavar="FILE", help="checkpoint that the student starts from")


def _value_so_far(config: Config, metric: str) -> float | None:
    """The metric of the last validation in the work directory; `None` without one."""
    try:
        return last_metric(Path(config.work_dir), metric)
    except ValueError:
        return None


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    distillation, choice = config_of_arguments(args)
    config = runner_config(args, distillation)
    names = [field.name for field in fields(TrainingOptions)]
    notes = [*filter(None, [choice]), f"command: {shlex.join(sys.argv)}"]
    options = TrainingOptions(**{name: getattr(args, name) for name in names})
    metric = check_options(config)["metric"]
    so_far = _value_so_far(config, metric) if args.resume else None
    if args.baseline and not config.get("val_dataloader"):
        raise ValueError("--baseline compares the AP on val, and this config has no val_dataloader: leave it out")
    progress = ProgressHook(args.baseline and last_metric(args.baseline, metric), so_far, metric)
    try:
        run_training(config, options, notes, [progress])
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("the same command with --resume goes on from the last checkpoint") from error
    finally:
        progress.stop()
