"""Findings about an installation: versions, imports, operators, and configs."""

import contextlib
import platform
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import torch

from pcka_mmdet import __version__
from pcka_mmdet.configuration.files import carried
from pcka_mmdet.configuration.installed import INSTALL, STACK, release

from . import OK, Finding, findings_of


def examine_installation() -> Iterator[Finding]:
    """Check versions, imports, operators, and configs."""
    yield Finding(OK, "python", platform.python_version())
    for module in ("numpy", "cv2", *STACK):
        yield from findings_of(module, partial(_import, module))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    yield from findings_of("operators of mmcv", partial(_run_operators, device))
    yield from findings_of("configs of mmdet", _find_configs_of_mmdet)
    yield from findings_of("configs of pcka_mmdet", _find_configs)


def _import(module: str) -> str:
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise ValueError(f"it is not installed: {INSTALL.get(package, f'pip install {package}')}")
    import_module(module)
    return release(module) or "imports"


def _run_operators(device: str) -> str:
    """Run NMS, and RoIAlign forward and backward, on tiny inputs."""
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]], device=device)
    maps = torch.ones(1, 1, 4, 4, device=device, requires_grad=True)
    rois = torch.cat([torch.zeros(1, 1, device=device), boxes], 1)
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
    try:
        ops = import_module("mmcv.ops")
        ops.nms(boxes, torch.ones(1, device=device), 0.5)
        ops.RoIAlign(2, 1.0)(maps, rois).sum().backward()
    except (ImportError, RuntimeError) as error:  # none, or built for another GPU or another CUDA
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"mmcv's compiled operators do not run on {name} ({reason}): {INSTALL['mmcv']}; for a GPU build it on this "
            "machine (FORCE_CUDA=1, see docs/install.md)"
        ) from error
    return f"they run on {name}" if device == "cuda" else "torch sees no GPU: trainings run on the CPU"


def check_operators() -> None:
    """Raise `ValueError` if torch sees a GPU, and mmcv was built without CUDA."""
    if not torch.cuda.is_available():
        return
    from mmcv.ops import get_compiling_cuda_version

    if get_compiling_cuda_version() == "not available":
        raise ValueError(
            "torch sees a GPU but mmcv has no CUDA operators (NMS, RoIAlign ...): build mmcv with the CUDA toolkit of "
            "torch (FORCE_CUDA=1, see docs/install.md), or train on the CPU by CUDA_VISIBLE_DEVICES=''"
        )


def _find_configs_of_mmdet() -> str:
    from mmengine.utils import get_installed_path

    path = get_installed_path("mmdet")  # where MMEngine looks for `mmdet::...`
    if hasattr(import_module("pkg_resources"), "__path__"):  # that of setuptools is a package, and compat's a file
        return path
    return f"{path}. setuptools has no pkg_resources, which MMEngine asks; pcka_mmdet stands in for it"


def _find_configs() -> str:
    folder = carried("configs")
    if not (folder / "_base_").is_dir():
        raise FileNotFoundError("the configs are missing: install the package again")
    text = f"pcka_mmdet {__version__} has them in {folder}"
    with contextlib.suppress(PackageNotFoundError):
        if Path(distribution("pcka_mmdet").locate_file("pcka_mmdet/.mim")).is_dir():
            return text
    return f"{text}. MIM does not find them by name: name a file, or install without -e (pip install .)"
