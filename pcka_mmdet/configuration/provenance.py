"""Where a result comes from: code, packages and machine."""

import os
import platform
import shutil
import subprocess

import torch

import pcka_mmdet
from pcka_mmdet.configuration.installed import releases

from .files import carried


def provenance() -> dict[str, object]:
    """`version` of the code, installed `packages`, and `machine` without this process's number of threads."""
    described = {name: value for name, value in machine().items() if name != "threads"}
    return dict(version=code_version(), packages=releases(), machine=described)


def code_version() -> str:
    """The commit of the code, with `+` if it has been changed since; without a repository the package's version."""
    root = carried("configs").parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        return pcka_mmdet.__version__

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True).stdout.strip()

    changed = "+" if git("status", "--porcelain", "--", "pcka_mmdet", "configs", "tools") else ""
    return git("rev-parse", "--short=12", "HEAD") + changed or pcka_mmdet.__version__


def machine() -> dict[str, str | int]:
    """The hardware and software that times depend on."""
    names: dict[str, str | int] = {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cores": cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        names["gpu"] = torch.cuda.get_device_name()
    return names


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith("model name")]
        return lines[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
