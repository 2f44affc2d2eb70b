"""Train a detector, by distillation or alone: `tools/train.py CONFIG`."""

import argparse
from urllib.error import URLError

from pcka_mmdet.engine import preflight
from pcka_mmdet.engine.launch import add_common_arguments, build_runner, runner_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a detector, by distillation or alone.")
    add_common_arguments(parser)
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate to the total batch, by auto_scale_lr"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from CHECKPOINT, or from the newest in the work directory where none is named",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = runner_config(args)
    if args.amp:
        preflight.check_mixed_precision()
        config.optim_wrapper.type = "AmpOptimWrapper"
        config.optim_wrapper.setdefault("loss_scale", "dynamic")
    if args.auto_scale_lr:
        if "base_batch_size" not in config.get("auto_scale_lr", {}):
            raise SystemExit("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
        config.auto_scale_lr.enable = True
    if args.resume:
        config.resume = True
        config.load_from = None if args.resume == "auto" else args.resume
    preflight.check_teacher_checkpoint(config)
    preflight.check_operators()
    preflight.check_pretrained_weights(config)
    preflight.check_annotations(config)
    try:
        build_runner(config).train()
    except URLError as error:
        raise SystemExit(
            f"weights that the config names cannot be downloaded ({error.reason}). Where there is no network, give a "
            "file in their place (init_cfg=dict(type='Pretrained', checkpoint=FILE)); make demo-bccd takes WEIGHTS=FILE"
        ) from error


if __name__ == "__main__":
    main()
