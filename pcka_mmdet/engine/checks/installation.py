"""Findings about an installation: versions, imports, operators, and the configs that come along."""

import platform
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import torch

from pcka_mmdet import __version__
from pcka_mmdet.configuration.files import carried
from pcka_mmdet.configuration.installed import INSTALL, STACK, release

from .finding import ERROR, OK, Finding, finding_of
from .preflight import check_operators, try_operators


def examine_installation() -> Iterator[Finding]:
    """Versions, imports, operators, and the configs that come along."""
    yield finding_of("python", _python)
    for module in STACK:
        yield finding_of(module, lambda module=module: _import(module))
    yield finding_of("operators of mmcv", _operators)
    yield finding_of("configs of mmdet", _configs_of_mmdet)
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


def _configs_of_mmdet() -> str:
    """Where MMEngine looks for the bases `mmdet::...`, and what it asks."""
    from mmengine.utils import get_installed_path

    path = get_installed_path("mmdet")
    asked = import_module("pkg_resources")
    if "pcka_mmdet" not in str(asked.__file__):
        return path
    return f"{path}. setuptools has no pkg_resources, which MMEngine asks; pcka_mmdet stands in for it"
