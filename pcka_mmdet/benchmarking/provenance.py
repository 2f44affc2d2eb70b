"""Where a result comes from: code, packages and machine."""

import shutil
import subprocess

import pcka_mmdet
from pcka_mmdet.configuration.carried import carried
from pcka_mmdet.configuration.installed import releases

from .measure import machine


def provenance() -> dict[str, object]:
    """`version` of the code, installed `packages`, and `machine`."""
    return dict(version=code_version(), packages=releases(), machine=machine())


def code_version() -> str:
    """The commit of the code, with `+` if it has been changed since; without a repository the package's version."""
    root = carried("configs").parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        return pcka_mmdet.__version__
    git = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or pcka_mmdet.__version__
