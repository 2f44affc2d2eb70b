"""The packages that this one needs, what installs them, and which are installed."""

import contextlib
import os
import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec

from pcka_mmdet import __version__

INSTALL = {
    "torch": "pip install torch",
    "mmengine": "pip install mmengine==0.10.7",
    "mmcv": "mim install mmcv==2.1.0 (torch 2.1), or `make install` in a clone of pcka_mmdet (newer ones)",
    "mmdet": "pip install mmdet==3.3.0 (for detectors)",
    "mmrazor": "pip install mmrazor==1.0.0",
    "ordered_set": "pip install ordered-set",
    "joblib": "pip install joblib",
}
"""By module, the command that installs it. Classifiers need no mmdet."""

STACK = ("torch", "mmengine", "mmcv", "mmdet", "mmrazor.models")

OLDEST_TORCH = (2, 1)


def check_package(name: str) -> None:
    """Raise a ValueError if a package of `INSTALL` is missing; the import of another one fails by itself."""
    if name in INSTALL and find_spec(name) is None:
        raise ValueError(f"the package {name!r} is missing: {INSTALL[name]}")


def missing() -> list[str]:
    """A sentence for each module that is not installed or too old, and without which nothing runs."""
    names = [name for name in INSTALL if name != "mmdet" and find_spec(name) is None]
    sentences = [f"the package {name!r} is missing: {INSTALL[name]}" for name in names]
    with contextlib.suppress(PackageNotFoundError):  # a build without metadata
        torch = version("torch")
        if tuple(map(int, re.findall(r"\d+", torch)[:2])) < OLDEST_TORCH:
            oldest = ".".join(map(str, OLDEST_TORCH))
            sentences.append(
                f"torch {torch} is installed, and pcka_mmdet needs {oldest} or newer: install it, and the mmcv for it"
            )
    return sentences


def release(module: str) -> str | None:
    """The distribution that has a module, and its version (`onedl-mmcv 2.3.6`); `None` without one."""
    package = module.partition(".")[0]
    names = _distributions().get(package)
    if not names:
        return None
    stated = getattr(sys.modules.get(package), "__version__", None)  # torch's names its CUDA, too
    return f"{names[0]} {stated or version(names[0])}"


_distributions = cache(packages_distributions)


def releases() -> str:
    """This package and the installed distributions of the stack, with their versions."""
    return ", ".join([f"pcka_mmdet {__version__}", *filter(None, map(release, (*STACK, "mmpretrain")))])


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
