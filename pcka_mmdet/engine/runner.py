"""Build the runner of a config, ask it what a training needs to know, and save random states."""

import atexit
import gc
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import EpochBasedTrainLoop, Runner, find_latest_checkpoint
from torch import nn

from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.configuration.pipeline_size import enlarge_images
from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.models import FPNDistill

from .checks.image_files import explains_an_empty_set


def on_cpu() -> bool:
    """Whether MMEngine trains without a GPU, NPU, MLU or MUSA. Apple's MPS counts as CPU: it has no AMP and no DDP."""
    return get_device() in ("cpu", "mps")


def build_runner(config: Config) -> Runner:
    """The runner of a config: MMEngine's, or the one that `runner_type` names."""
    if config.get("launcher") == "pytorch" and on_cpu():
        _use_cpu_processes(config)
    runner = RUNNERS.build(config) if "runner_type" in config else Runner.from_cfg(config)
    forget_initial_weights(runner)
    return runner


def _use_cpu_processes(config: Config) -> None:
    """Start gloo, and give DDP no device: MMEngine would look for a GPU in both places."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
        atexit.register(_end_processes)
    defaults = dict(type="MMDistributedDataParallel", broadcast_buffers=False)
    defaults["find_unused_parameters"] = config.get("find_unused_parameters", False)
    config.model_wrapper_cfg = {**defaults, **(config.get("model_wrapper_cfg") or {}), "device_ids": None}


def _end_processes() -> None:
    """End gloo's process group. A thread of gloo that holds a tensor when the interpreter ends aborts the process."""
    gc.collect()  # the runner, its model and DDP are in cycles
    torch.distributed.destroy_process_group()


def build_training_set(runner: Runner) -> None:
    """Build the training loop with its data set, as `Runner.train` does first; a ValueError explains an empty set."""
    with explains_an_empty_set("train_dataloader"):
        scale = _teacher_scale(runner)
        if scale > 1 and isinstance(runner._train_dataloader, dict):  # here: the student's config keeps its size
            enlarge_images(runner._train_dataloader["dataset"], scale)
            for hook in runner.hooks:
                if hasattr(hook, "switch_pipeline"):  # MMDetection's PipelineSwitchHook
                    enlarge_images(dict(pipeline=hook.switch_pipeline), scale)
        runner.train_loop  # noqa: B018  (a property that builds)


def _teacher_scale(runner: Runner) -> int:
    """Side of the teachers' images over that of the student's."""
    if isinstance(runner.model, dict):  # of a FlexibleRunner, which builds it later
        return runner.model.get("teacher_scale", 1)
    model = fpn_distill(runner)
    return 1 if model is None else model.teacher_scale


def unwrapped_model(runner: Runner) -> nn.Module:
    """A runner's model without its distributed wrapper."""
    model = runner.model
    return model.module if not isinstance(model, FPNDistill) and is_model_wrapper(model) else model


def fpn_distill(runner: Runner) -> FPNDistill | None:
    """A runner's model if it is an `FPNDistill`."""
    model = unwrapped_model(runner)
    return model if isinstance(model, FPNDistill) else None


def resumed_checkpoint(runner: Runner) -> str | None:
    """The checkpoint that a runner resumes from; `None` if it does not resume."""
    if isinstance(runner._resume, str):  # a FlexibleRunner's
        return runner._resume
    return (runner._load_from or find_latest_checkpoint(runner.work_dir)) if runner._resume else None


def best_checkpoints(hook: CheckpointHook) -> dict[str, str]:
    """The best checkpoints so far, by metric."""
    if not hook.save_best:
        return {}
    several = len(hook.key_indicators) > 1
    paths = hook.best_ckpt_path_dict if several else {hook.key_indicators[0]: hook.best_ckpt_path}
    return {key: path for key, path in paths.items() if path is not None}


def kept_checkpoints(runner: Runner) -> tuple[str | None, str | None]:
    """The best checkpoint of a training (of several metrics, the first's) and the newest; `None` where none is kept."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    best = [path for hook in hooks for path in best_checkpoints(hook).values()]
    pointer = Path(runner.work_dir) / "last_checkpoint"
    return best[0] if best else None, pointer.read_text().strip() if pointer.is_file() else None


def forget_initial_weights(runner: Runner) -> None:
    """Drop `init_student` and `inherit` when a training resumes: the file that the student started from may be gone."""
    if resumed_checkpoint(runner) is None:
        return
    model = unwrapped_model(runner)
    if isinstance(model, FPNDistill):
        model.init_student, model.inherit = None, []
    elif isinstance(model, dict) and last_name(model.get("type")) == "FPNDistill":
        model.update(init_student=None, inherit=[])  # a FlexibleRunner builds and initialises it when it trains


def log_finished_training(runner: Runner) -> None:
    """Log that a resumed training is complete, or that its epochs have another length now."""
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    unit = "epochs" if by_epoch else "iterations"
    done, whole = (runner.epoch, runner.max_epochs) if by_epoch else (runner.iter, runner.max_iters)
    if done >= whole:
        print_log(f"the training is complete: all {whole} {unit} are done", "current")
    elif by_epoch and runner.iter != runner.epoch * len(runner.train_dataloader):
        warn(
            f"epochs have {len(runner.train_dataloader)} iterations now, and {runner.iter} iterations were done in "
            f"{runner.epoch} epochs before: until, since and the progress bar count iterations, so they shift"
        )


RandomState = dict[str, Any]


def random_state(gpus: bool = True) -> RandomState:
    """The states of Python's, NumPy's and torch's generators, in types that torch's safe loader accepts."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if gpus and torch.cuda.is_available() else [],
    }


def set_random_state(state: RandomState) -> None:
    """Restore the states; those of the GPUs only if there are as many as before."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())  # a checkpoint may have been loaded to a GPU
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])
