"""Export the student of a distillation as a plain MMDetection checkpoint: `tools/export_student.py CHECKPOINT`."""

import argparse
from pathlib import Path

from pcka_mmdet.checkpoints.student import export_student, publish, student_path

from .arguments import add_config_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint of a distillation")
    parser.add_argument("out", nargs="?", type=Path, help="file to write (default: student_CHECKPOINT beside it)")
    what = "copy the file to a name with the first 8 digits of its sha256"
    parser.add_argument("--publish", action="store_true", help=what)
    add_config_argument(parser)


def run(args: argparse.Namespace) -> None:
    if args.out is None and "://" in args.checkpoint:
        raise ValueError(f"the checkpoint is at a URL: give the file to write too, after {args.checkpoint}")
    out = (args.out or student_path(args.checkpoint)).expanduser()
    path = export_student(args.checkpoint, out, args.config)
    print(f"{publish(path) if args.publish else path}: use it as any MMDetection checkpoint")
