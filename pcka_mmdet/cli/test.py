"""Evaluate a detector: `tools/test.py CONFIG CHECKPOINT`.

CONFIG and CHECKPOINT may be a distillation's or the student's. Only the student is built.
"""

import argparse

from mmengine.config import ConfigDict

from pcka_mmdet.checkpoints.files import read_weights
from pcka_mmdet.engine.checks import preflight
from pcka_mmdet.engine.checks.annotations import check_annotations
from pcka_mmdet.engine.runner import build_runner
from pcka_mmdet.engine.testing import config_of_test, run_test, use_tta

from .arguments import add_common_arguments, runner_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser)
    parser.add_argument("checkpoint", help="checkpoint file or URL")
    parser.add_argument("--out", help="write the predictions to this .pkl file")
    parser.add_argument("--show", action="store_true", help="show predictions in a window")
    parser.add_argument("--show-dir", help="save pictures of predictions in this folder within the work directory")
    parser.add_argument("--wait-time", type=float, default=2, help="seconds between two pictures of --show")
    parser.add_argument("--tta", action="store_true", help="test-time augmentation: the image and its mirror image")


def run(args: argparse.Namespace) -> None:
    if args.out and not args.out.endswith((".pkl", ".pickle")):
        raise ValueError(f"--out writes a pickle, so its name must end in .pkl or .pickle; got {args.out!r}")
    given = runner_config(args)
    if given.get("default_scope") == "mmpretrain" and (args.tta or args.show or args.show_dir):
        raise ValueError("--tta, --show and --show-dir are for detectors: leave them out for this classifier")
    config = config_of_test(given, args.checkpoint)
    if args.show or args.show_dir:
        from mmdet.engine.hooks.utils import trigger_visualization_hook

        hooks = config.setdefault("default_hooks", ConfigDict())
        hooks.setdefault("visualization", dict(type="mmdet.DetVisualizationHook"))
        config = trigger_visualization_hook(config, args)
    preflight.check_operators()
    doubts = check_annotations(config, ["test_dataloader"])
    read_weights(args.checkpoint, "checkpoint")  # says what is wrong with it
    if args.tta:
        use_tta(config)
    runner = build_runner(config)
    preflight.log_doubts(doubts)
    if args.out:
        from mmdet.evaluation import DumpDetResults

        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    run_test(runner)
