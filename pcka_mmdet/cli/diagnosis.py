"""Findings about an installation and a config: what is right, what is doubtful, what is wrong and how to mend it."""

import contextlib
import io
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from pcka_mmdet import __version__
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.files import carried
from pcka_mmdet.configuration.installed import INSTALL, STACK, release
from pcka_mmdet.engine.cfg_options import doubtful_names
from pcka_mmdet.engine.checks.annotations import check_annotations, doubts_of_annotations
from pcka_mmdet.engine.checks.images import check_images
from pcka_mmdet.engine.checks.preflight import CHECKS, check_operators, check_teacher_checkpoint, try_operators
from pcka_mmdet.engine.checks.teacher_check import check_teacher
from pcka_mmdet.engine.hooks.student_checkpoint import use_student_checkpoints
from pcka_mmdet.engine.runner import build_runner, build_training_set, unwrapped_model
from pcka_mmdet.models import FPNDistill

from .errors import sentence

OK, WARNING, ERROR = "ok", "warning", "error"

TEACHER_CHECK = "the teacher on the validation data"

STEP = "a step"
"""A forward and a backward; the optimizer's part is not in it."""

LOADERS = {"train_dataloader": ERROR, "val_dataloader": ERROR, "test_dataloader": WARNING}
"""Data loaders, and how bad it is if their images are missing: a training does without those for test."""

STEPS = 3
"""Measured steps, after one that is not."""


@dataclass(frozen=True)
class Finding:
    """One line of the result."""

    level: str
    """`OK`, `WARNING` or `ERROR`."""
    subject: str
    text: str


def examine_installation() -> Iterator[Finding]:
    """Versions, imports, operators, and the configs that come along."""
    yield _found("python", _python)
    for module in STACK:
        yield _found(module, lambda module=module: _import(module))
    yield _found("operators of mmcv", _operators)
    there = (carried("configs") / "_base_").is_dir()
    mim = "" if _is_copied() else ". MIM does not find them by name: name a file, or install without -e (pip install .)"
    text = (
        f"pcka_mmdet {__version__} has them in {carried('configs')}{mim}"
        if there
        else "the configs are missing: install the package again"
    )
    yield Finding(OK if there else ERROR, "configs of pcka_mmdet", text)


def _is_copied() -> bool:
    """Whether pip has copied the package with its configs; an editable installation is none."""
    try:
        return Path(distribution("pcka_mmdet").locate_file("pcka_mmdet/.mim")).is_dir()
    except PackageNotFoundError:
        return False


def examine(config: Config, images: int | None = None, baseline: float | None = None) -> Iterator[Finding]:
    """A training's config: what `tools/train.py` checks first, then a step on one batch.

    Args:
        config: The complete config.
        images: Evaluate the teacher on so many validation images; `None` does not.
        baseline: Metric of the student alone on all validation images. The teacher is evaluated on all of them then.
    """
    wrong = False
    left_out = [check_operators]  # `examine_installation` has it
    if not is_distillation(config):
        left_out.append(check_teacher_checkpoint)
    named = [(subject, check) for subject, check in CHECKS.items() if check not in left_out]
    checks = [(subject, partial(check, config), ERROR) for subject, check in named]
    test = "annotations and classes of the test"
    checks.append((test, partial(check_annotations, config, ("train_dataloader", "test_dataloader")), WARNING))
    checks += [(f"images of {name}", partial(check_images, config, name), level) for name, level in LOADERS.items()]
    readable = list(LOADERS)
    for subject, check, level in checks:
        finding = _found(subject, check, level)
        wrong = wrong or finding.level == ERROR
        if subject == test and finding.level != OK:
            readable.remove("test_dataloader")
        yield finding
    for text in doubtful_names(config):
        yield Finding(WARNING, "names of settings", text)
    for text in [] if wrong else doubts_of_annotations(config, readable):
        yield Finding(WARNING, "annotations and classes", text)
    if wrong:
        yield Finding(WARNING, STEP, "not tried: mend what is wrong first")
        return
    with contextlib.redirect_stdout(io.StringIO()):  # what packages print
        findings = list(_step(config))
    yield from findings
    if not images and baseline is None:
        return
    if not is_distillation(config):
        level = ERROR if images else WARNING
        yield Finding(level, TEACHER_CHECK, "not tried: this config has no teacher. Add --teacher and --teacher-ckpt")
        return
    with contextlib.redirect_stdout(io.StringIO()):
        finding = _teacher(config, images, baseline)
    yield finding


def _found(subject: str, check: Callable[[], Any], level: str = ERROR) -> Finding:
    """What a check says; what it raises is of that level."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what packages print
            return Finding(OK, subject, check() or "")
    except Exception as error:  # packages fail in any way when they are imported or built
        return Finding(level, subject, sentence(error))


def _import(module: str) -> str:
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise ValueError(f"it is not installed: {INSTALL[package]}")
    import_module(module)
    return release(module) or "imports"


def _python() -> str:
    modules = [f"{name} {import_module(name).__version__}" for name in ("numpy", "cv2")]
    return ", ".join([platform.python_version(), *modules])


def _operators() -> str:
    try:
        import_module("mmcv.ops")
    except ImportError as error:
        raise ImportError(f"mmcv has no compiled operators ({error}): {INSTALL['mmcv']}") from error
    check_operators()
    if not torch.cuda.is_available():
        try_operators("cpu")
        return "torch sees no GPU: trainings run on the CPU"
    torch.ones(1, device="cuda").sum().item()  # torch's own failure is not mmcv's
    try:
        try_operators("cuda")
    except RuntimeError as error:  # built for another GPU, or another CUDA
        said = str(error).partition("\n")[0]
        raise ValueError(
            f"mmcv's operators do not run on {torch.cuda.get_device_name()} ({said}): build mmcv on this machine "
            "(FORCE_CUDA=1, see docs/install.md)"
        ) from error
    return f"they run on {torch.cuda.get_device_name()}"


def _step(config: Config) -> Iterator[Finding]:
    """Build what a training builds, and time the student alone and the distillation on one batch."""
    if config.get("runner_type"):
        yield Finding(WARNING, STEP, f"not tried: only MMEngine's Runner is, and this is {config.runner_type}")
        return
    subject = STEP
    try:
        use_student_checkpoints(config)  # as a training does; it refuses options that it does not have
        config.visualizer = dict(type="Visualizer")  # starts no run of WandB or another tracker
        subject = "the model, its weights and the hooks"
        runner = build_runner(config)
        runner._init_model_weights()
        subject = STEP
        build_training_set(runner)
        runner.optim_wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        if config.get("param_scheduler"):
            runner.build_param_scheduler(config.param_scheduler)
        if config.get("val_cfg") is not None:
            runner.val_loop  # noqa: B018  (a property that builds)
        batch = next(iter(runner.train_dataloader))
        distilled, memory = _time(runner, batch)
    except Exception as error:
        yield Finding(ERROR, subject, sentence(error))
        return
    held = f"{'the GPU' if torch.cuda.is_available() else 'the process'} held {memory:.0f} MB"
    model = unwrapped_model(runner)
    if not isinstance(model, FPNDistill):
        yield Finding(OK, STEP, f"{distilled:.3f} s; {held}")
        return
    if model.teacher_sha256:
        yield Finding(OK, "the teacher's weights", f"sha256 {model.teacher_sha256[:16]}...")
    else:
        yield Finding(WARNING, "the teacher's weights", "they are random, or no local file of them is left")
    inactive = model.distiller.inactive.values()
    text = "\n".join(["", model.level_table, *inactive])
    yield Finding(WARNING if inactive else OK, "levels and losses", text)
    model.distillation_stopped = True
    alone, _ = _time(runner, batch)
    text = f"{distilled:.3f} s, the student alone {alone:.3f} s; {held} without the optimizer's states"
    yield Finding(OK, STEP, text)


def _time(runner: Runner, batch: Any) -> tuple[float, float]:
    """Median seconds of a forward and a backward, and the most megabytes that the process held."""
    model, seconds = unwrapped_model(runner), []
    model.train()
    runner.message_hub.update_info_dict(dict(epoch=0, iter=0))  # what a training notes; YOLOX and TOOD read it
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        data = model.data_preprocessor(batch, True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
        model.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), _most_memory()


def _most_memory() -> float:
    """Most memory of the GPU, if there is one; else of the process. In mebibytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _teacher(config: Config, images: int | None, baseline: float | None) -> Finding:
    try:
        best = max(check_teacher(config, images if baseline is None else None))
    except Exception as error:
        return Finding(ERROR, TEACHER_CHECK, sentence(error))
    if baseline is None:
        text = f"{best:.3f} on {images} images, or all there are; --baseline WORK_DIR of the student alone compares it"
        return Finding(OK, TEACHER_CHECK, text)
    text = f"{best:.3f} on all images"
    if best <= baseline:
        return Finding(
            WARNING,
            TEACHER_CHECK,
            f"{text}, and the student alone has {baseline:.3f}: there is nothing to learn from it. Train the teacher "
            "longer, or take a better one",
        )
    return Finding(OK, TEACHER_CHECK, f"{text}, {best - baseline:+.3f} over the student alone")
