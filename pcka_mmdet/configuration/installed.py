"""The packages that this one needs, and what installs them."""

from importlib.util import find_spec

INSTALL = {
    "torch": "pip install torch",
    "mmengine": "pip install mmengine==0.10.7",
    "mmcv": "mim install mmcv==2.1.0 (torch 2.1), or `make install` in this repository, which compiles it (newer ones)",
    "mmdet": "pip install mmdet==3.3.0 (for detectors)",
    "mmrazor": "pip install mmrazor==1.0.0",
    "ordered_set": "pip install ordered-set",
    "joblib": "pip install joblib",
}
"""By module, what to run if it is missing."""

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
    """A sentence for each module that is not installed and without which nothing runs."""
    names = [name for name in INSTALL if name not in FOR_DETECTORS and find_spec(name) is None]
    return [f"the package {name!r} is missing: {INSTALL[name]}" for name in names]
