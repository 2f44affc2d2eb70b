"""The packages that this one needs, what installs them, and the code, packages and machine behind a result."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

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
    """Refuse to go on without a package of `INSTALL`; whoever imports another one says what is missing.

    Raises:
        ValueError: It is not installed.
    """
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
            text = (
                f"torch {torch} is installed, and pcka_mmdet needs {oldest} or newer: install it, and the mmcv for it"
            )
            sentences.append(text)
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


def provenance() -> dict[str, object]:
    """`version` of the code, installed `packages`, and `machine` without this process's number of threads."""
    described = {name: value for name, value in machine().items() if name != "threads"}
    return dict(version=_commit() or __version__, packages=releases(), machine=described)


def _commit() -> str | None:
    """The commit of the code, with `+` if it has been changed since; `None` without a repository."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True).stdout.strip()

    changed = "+" if git("status", "--porcelain", "--", "pcka_mmdet", "configs", "tools") else ""
    return git("rev-parse", "--short=12", "HEAD") + changed


def machine() -> dict[str, str | int]:
    """The hardware and software that times depend on."""
    import torch  # not by a command that says that it is missing

    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        processor = names[0] if names else processor
    described: dict[str, str | int] = {
        "processor": processor,
        "threads": torch.get_num_threads(),
        "cores": cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    return described


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
