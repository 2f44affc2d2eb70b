"""The code, packages and machine behind a result."""

import contextlib
import platform
import shutil
import subprocess
from pathlib import Path

import torch

from pcka_mmdet import __version__
from pcka_mmdet.configuration.installed import cores, releases

ROOT = Path(__file__).parents[1]


def provenance() -> dict[str, object]:
    """`version` of the code, installed `packages`, and `machine` without this process's number of threads."""
    described = {name: value for name, value in machine().items() if name != "threads"}
    return dict(version=_commit() or __version__, packages=releases(), machine=described)


def _commit() -> str | None:
    """The commit of the code, with `+` if it has been changed since; `None` without a repository."""
    root = ROOT
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True).stdout.strip()

    changed = "+" if git("status", "--porcelain", "--", "pcka_mmdet", "configs", "tools") else ""
    return git("rev-parse", "--short=12", "HEAD") + changed


def machine() -> dict[str, str | int]:
    """The hardware and software that times depend on."""
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
