"""PCKA distillation for MMDetection.

Importing the package makes the old MM packages work on today's torch (:mod:`pcka_mmdet.compat`). Models, hooks and data
sets are imported when a config names them. :mod:`pcka_mmdet.functional` needs only torch.
"""

from typing import Any

from .compat import activate

__version__ = "0.1.0"
__all__ = ["__version__", "distill", "load_student", "pseudo_label"]

activate()


def __getattr__(name: str) -> Any:
    """Import a function of the package when it is used."""
    if name in ("distill", "load_student"):
        from . import api

        return getattr(api, name)
    if name == "pseudo_label":
        from .pseudo_labels.label import pseudo_label

        return pseudo_label
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
