"""Where a result comes from: code, packages and machine."""

import shutil
import subprocess

import pcka_mmdet
from pcka_mmdet.configuration.carried import carried
from pcka_mmdet.configuration.installed import releases

from .measure import machine


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
