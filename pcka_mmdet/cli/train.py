"""Train a detector, by distillation or without a teacher: `tools/train.py CONFIG`.

CONFIG is a distillation, or any detector; `--teacher` makes a detector the student of a distillation.
"""

import argparse
import shlex
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from pcka_mmdet.engine.checks.teacher_check import check_options
from pcka_mmdet.engine.hooks.console import ProgressHook
from pcka_mmdet.engine.training import TrainingOptions, run_training
from pcka_mmdet.report.scalars import last_metric

from .arguments import add_training_arguments, training_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)
    what = "scale the learning rate to the total batch size; needs auto_scale_lr in the config"
    parser.add_argument("--auto-scale-lr", action="store_true", help=what)
    what = "resume from CHECKPOINT (default: the newest in the work directory); 'auto' starts anew if there is none"
    parser.add_argument("--resume", nargs="?", const="newest", metavar="CHECKPOINT", help=what)
    what = "resume even if the teacher's file has changed"
    parser.add_argument("--allow-teacher-change", action="store_true", help=what)
    parser.add_argument("--init-student", metavar="FILE", help="checkpoint that the student starts from")


def run(args: argparse.Namespace) -> None:
    config, recipe = training_config(args)
    options = TrainingOptions(**{field.name: getattr(args, field.name) for field in fields(TrainingOptions)})
    if args.baseline and not config.get("val_dataloader"):
        raise ValueError("--baseline compares the AP on val, and this config has no val_dataloader: leave it out")
    metric, value_so_far = check_options(config)["metric"], None
    if args.resume:
        with suppress(ValueError):  # no validation yet
            value_so_far = last_metric(Path(config.work_dir), metric)
    baseline = args.baseline and last_metric(args.baseline, metric)
    progress = ProgressHook(baseline, value_so_far, metric, args.baseline)
    notes = [*filter(None, [recipe]), f"command: {shlex.join(sys.argv)}"]
    try:
        run_training(config, options, notes, [progress])
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("the same command with --resume goes on from the last checkpoint") from error
    finally:
        progress.stop()
