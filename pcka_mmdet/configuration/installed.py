"""The packages that this one needs, and what installs them."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
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
"""By module, what to run if it is missing."""

STACK = {"torch": ("torch",), "mmengine": ("mmengine", "onedl-mmengine"), "mmcv": ("mmcv", "mmcv-lite", "onedl-mmcv")}
STACK |= {"mmdet": ("mmdet", "onedl-mmdetection"), "mmrazor.models": ("mmrazor",)}
"""Modules, and the distributions that bring them."""

FOR_CLASSIFIERS = {"mmpretrain": ("mmpretrain", "onedl-mmpretrain")}
"""Likewise, for classifiers alone."""

OLDEST_TORCH = (2, 1)
"""Major and minor version."""

FOR_DETECTORS = ("mmdet",)
"""Modules that a classifier does without."""


def check_package(name: str) -> None:
    """Refuse to go on without a package of `INSTALL`; others are left to those who import them.

    Raises:
        ValueError: It is not installed.
    """
    if name in INSTALL and find_spec(name) is None:
        raise ValueError(f"the package {name!r} is missing: {INSTALL[name]}")


def missing() -> list[str]:
    """A sentence for each module that is not installed or too old, and without which nothing runs."""
    names = [name for name in INSTALL if name not in FOR_DETECTORS and find_spec(name) is None]
    return [f"the package {name!r} is missing: {INSTALL[name]}" for name in names] or _too_old()


def _too_old() -> list[str]:
    try:
        release = version("torch")
    except PackageNotFoundError:  # a build without metadata
        return []
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None or tuple(map(int, found.groups())) >= OLDEST_TORCH:
        return []
    oldest = ".".join(map(str, OLDEST_TORCH))
    return [
        f"torch {release} is installed, and pcka_mmdet needs {oldest} or newer: install it, and the mmcv built for it"
    ]


def release(module: str) -> str | None:
    """The distribution that brings a module of the stack, and its version (`onedl-mmcv 2.3.6`); `None` without one."""
    package = sys.modules.get(module.partition(".")[0])
    stated = getattr(package, "__version__", None)  # torch's names its CUDA, too
    for name in (STACK | FOR_CLASSIFIERS)[module]:
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        return f"{name} {stated or installed}"
    return None


def releases() -> str:
    """What is installed: this package and the distributions of the stack, with their versions."""
    return ", ".join([f"pcka_mmdet {__version__}", *filter(None, map(release, STACK | FOR_CLASSIFIERS))])
