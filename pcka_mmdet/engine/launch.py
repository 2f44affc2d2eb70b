"""What the command line tools share: their common options, and the runner config that these make."""

import argparse
import atexit
import inspect
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.detector_config import is_fpn_distill, last_name, load_config


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
        "brackets and write no blanks within them. Of a distillation, settings of a detector's model are the student's",
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
        _merge_options(config, args.cfg_options)
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


def build_runner(config: Config) -> Runner:
    """The runner of a config: MMEngine's, or the one that `runner_type` names."""
    if config.get("launcher") == "pytorch" and not torch.cuda.is_available():
        _use_cpu_processes(config)
    return RUNNERS.build(config) if "runner_type" in config else Runner.from_cfg(config)


def _use_cpu_processes(config: Config) -> None:
    """Start gloo, and tell DDP that there is no device to choose: MMEngine would look for a GPU in both places."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
        atexit.register(torch.distributed.destroy_process_group)  # else its threads may outlive the interpreter
    given = config.get("model_wrapper_cfg") or {}
    config.model_wrapper_cfg = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=config.get("find_unused_parameters", False),
    )
    config.model_wrapper_cfg.update(given, device_ids=None)


def unwrapped_model(runner: Runner) -> nn.Module:
    """A runner's model, out of what distributes it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def use_student_checkpoints(config: Config) -> None:
    """Exchange MMEngine's checkpoint hook for the one whose files survive a kill and that writes plain students.

    One that writes to a remote place, and a hook of the user's own, stay.
    """
    hook = config.setdefault("default_hooks", ConfigDict()).setdefault("checkpoint", ConfigDict(type="CheckpointHook"))
    remote = hook and any(hook.get(option) for option in ("backend_args", "file_client_args"))
    if hook and not remote and last_name(hook.type) == "CheckpointHook":
        hook.type = "pcka_mmdet.StudentCheckpointHook"


def build_training_set(runner: Runner) -> None:
    """Build the training loop with its data set, as `Runner.train` does first of all.

    Raises:
        SystemExit: The data set is empty.
    """
    try:
        runner.train_loop  # noqa: B018  (a property that builds)
    except ValueError as error:
        if "need at least one array to concatenate" not in str(error):
            raise
        raise SystemExit(
            "the training set is empty: no image is left after filtering (filter_cfg, classes without an annotation). "
            "Look at data_root, ann_file and metainfo of train_dataloader"
        ) from error
