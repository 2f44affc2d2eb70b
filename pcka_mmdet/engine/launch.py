"""The common options of the command line tools, and the runner config that they make."""

import argparse
import difflib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from pcka_mmdet.configuration.distillation import is_fpn_distill, write_out_detectors
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.models import FPNDistill

_OF_DISTILLATION = {"type", *inspect.signature(FPNDistill).parameters} - {"data_preprocessor", "init_cfg"}
"""Settings of `model` that are not the student's."""


class ConfigOptions(DictAction):
    """MMEngine's `--cfg-options`, but a single value, such as a path, keeps its spaces."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list, *rest) -> None:
        """Refuse what is no KEY=VALUE."""
        wrong = next((word for word in values if not word.partition("=")[0] or "=" not in word), None)
        if wrong is not None:
            parser.error(f"--cfg-options takes KEY=VALUE, such as train_cfg.max_epochs=2; got {wrong!r}")
        super().__call__(parser, namespace, values, *rest)

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        value = val.strip("'\" ")
        is_single = "," not in value and not value.startswith(("(", "["))
        return DictAction._parse_int_float_bool(value) if is_single else DictAction._parse_iterable(val)


def add_common_arguments(parser: argparse.ArgumentParser, config_is_optional: bool = False) -> None:
    """Add the options of both `tools/train.py` and `tools/test.py`, named as in MMDetection."""
    parser.add_argument("config", nargs="?" if config_is_optional else None, help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints (default: work_dirs/CONFIG'S NAME)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        metavar="KEY=VALUE",
        help='override settings of the config, such as train_cfg.max_epochs=2 or key="[a,b]"; quote values with spaces '
        "or brackets, and write lists without spaces. In a distillation, settings of a detector's model apply to the "
        "student",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="job launcher")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="set by the launcher")


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, for checkpoints whose config needs the user's own files or modules."""
    parser.add_argument(
        "--config",
        type=_config_file,
        metavar="FILE",
        help="config file of the training; needed where it uses modules or files of your own",
    )


def _config_file(path: str) -> Config:
    try:
        return load_config(path)
    except FileNotFoundError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def runner_config(args: argparse.Namespace, config: Config | None = None) -> Config:
    """`config`, or else the config named on the command line, with the common options applied.

    Raises:
        SystemExit: The config, or the config of a detector that it names, does not exist or is invalid.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    try:
        config = config or load_config(args.config)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    config.launcher = args.launcher
    apply_common(config, args.cfg_options, args.work_dir)
    return config


def apply_common(config: Config, options: Mapping[str, Any] | None, work_dir: str | None) -> None:
    """Apply `--cfg-options` and `--work-dir`, in place.

    Raises:
        SystemExit: The config of a detector that it names does not exist or is invalid.
    """
    try:
        check_names(config, options or {})
        merge_options(config, options or {})
        write_out_detectors(config)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(config.filename).stem)


def check_names(config: Config, options: Mapping[str, Any]) -> None:
    """Refuse options whose first names nearly are those of a setting of MMEngine's, of ours, or of a default hook.

    MMEngine adds what a config lacks, so a misspelt setting would be silent. A name that begins with a setting's, such
    as `train_cfg_stage2`, passes, as does every name that the config has.

    Raises:
        ValueError: There is such an option.
    """
    known = {"": set(inspect.signature(Runner.__init__).parameters)}
    known["default_hooks."] = set(config.get("default_hooks") or {})
    if is_fpn_distill(config):
        known["model."] = _OF_DISTILLATION
    there = {"": config, "default_hooks.": known["default_hooks."], "model.": config.get("model") or {}}
    for option in options:
        for prefix, names in known.items():
            name, dot, rest = option.removeprefix(prefix).partition(".")
            if not option.startswith(prefix) or name in there[prefix] or name.startswith(tuple(names)):
                continue
            if close := difflib.get_close_matches(name, names, n=1, cutoff=0.8):
                raise ValueError(f"there is no setting {option!r}: did you mean {prefix + close[0] + dot + rest!r}?")


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Merge options; in a distillation, a detector's options (`model.bbox_head.num_classes`) go to the student."""
    of_student = {
        key: value
        for key, value in options.items()
        if is_fpn_distill(config) and key.startswith("model.") and key.split(".")[1] not in _OF_DISTILLATION
    }
    config.merge_from_dict({key: value for key, value in options.items() if key not in of_student})
    if not of_student:
        return
    if isinstance(config.model.architecture, str):
        config.model.architecture = dict(cfg_path=config.model.architecture)
    config.merge_from_dict({f"model.architecture.{key.removeprefix('model.')}": v for key, v in of_student.items()})
