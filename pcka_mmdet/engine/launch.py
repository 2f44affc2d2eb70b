"""What the command line tools share: their common options, and the runner config that these make."""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from pcka_mmdet.models.detector_config import load_config


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that `tools/train.py` and `tools/test.py` have in common, named as MMDetection's."""
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints (default: work_dirs/CONFIG'S NAME)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help='settings that override the config, such as train_cfg.max_epochs=2 or key="[a,b]"; quote values that hold '
        "brackets and write no blanks within them",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="job launcher")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="set by the launcher")


def runner_config(args: argparse.Namespace, config: Config | None = None) -> Config:
    """The config named on the command line, or one made from it, with what the common options say.

    Raises:
        SystemExit: There is no such config.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    try:
        config = config or load_config(args.config)
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from error
    config.launcher = args.launcher
    if args.cfg_options is not None:
        config.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(config.filename).stem)
    return config


def build_runner(config: Config) -> Runner:
    """The runner of a config: MMEngine's, or the one that `runner_type` names."""
    if config.get("launcher") == "pytorch" and not torch.cuda.is_available():
        _use_cpu_processes(config)
    return RUNNERS.build(config) if "runner_type" in config else Runner.from_cfg(config)


def _use_cpu_processes(config: Config) -> None:
    """Start gloo, and tell DDP that there is no device to choose: MMEngine would look for a GPU in both places."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    given = config.get("model_wrapper_cfg") or {}
    config.model_wrapper_cfg = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=config.get("find_unused_parameters", False),
    )
    config.model_wrapper_cfg.update(given, device_ids=None)
