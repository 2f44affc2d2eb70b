"""The configs and tools that come with the package."""

from pathlib import Path

import pcka_mmdet


def carried(name: str) -> Path:
    """The folder `configs` or `tools`: inside an installed wheel, or in the repository."""
    package = Path(pcka_mmdet.__file__).parent
    within = package / ".mim" / name
    return within.resolve() if within.is_dir() else package.parent / name
