"""What the command line tools share: their common options, and the runner config that these make."""

import argparse
import inspect
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from pcka_mmdet.configuration.detector import is_fpn_distill, load_config, write_out_detectors
from pcka_mmdet.models import FPNDistill


class ConfigOptions(DictAction):
    """MMEngine's `--cfg-options`, which removes the blanks of every value, a path's too: a single value keeps them."""

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        value = val.strip("'\" ")
        is_single = "," not in value and not value.startswith(("(", "["))
        return DictAction._parse_int_float_bool(value) if is_single else DictAction._parse_iterable(val)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that `tools/train.py` and `tools/test.py` have in common, named as MMDetection's."""
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints (default: work_dirs/CONFIG'S NAME)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        metavar="KEY=VALUE",
        help='settings that override the config, such as train_cfg.max_epochs=2 or key="[a,b]"; quote values that hold '
        "blanks or brackets, and write no blanks within lists. Of a distillation, settings of a detector's model are "
        "the student's",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="job launcher")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="set by the launcher")


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """`--config`, of tools that read a checkpoint: its own text names neither files nor modules of the user's."""
    parser.add_argument(
        "--config",
        type=_config_file,
        metavar="FILE",
        help="the config that it was trained with, in place of the text in it: for modules and files of your own",
    )


def _config_file(path: str) -> Config:
    try:
        return load_config(path)
    except FileNotFoundError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def runner_config(args: argparse.Namespace, config: Config | None = None) -> Config:
    """The config named on the command line, or one made from it, with what the common options say.

    Raises:
        SystemExit: There is no such config, or it names a detector that cannot be.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    try:
        config = config or load_config(args.config)
        if args.cfg_options is not None:
            _merge_options(config, args.cfg_options)
        write_out_detectors(config)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    config.launcher = args.launcher
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(config.filename).stem)
    return config


def _merge_options(config: Config, options: dict[str, Any]) -> None:
    """Merge options; those of a detector's model (`model.bbox_head.num_classes`) go to a distillation's student."""
    ours = {"type", *inspect.signature(FPNDistill).parameters} - {"data_preprocessor", "init_cfg"}
    students = {
        key: value
        for key, value in options.items()
        if is_fpn_distill(config) and key.startswith("model.") and key.split(".")[1] not in ours
    }
    config.merge_from_dict({key: value for key, value in options.items() if key not in students})
    if not students:
        return
    if isinstance(config.model.architecture, str):
        config.model.architecture = dict(cfg_path=config.model.architecture)
    config.merge_from_dict({f"model.architecture.{key.removeprefix('model.')}": v for key, v in students.items()})
