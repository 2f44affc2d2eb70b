"""PCKA distillation for MMDetection.

Importing the package makes the old MM packages work on today's torch (:mod:`pcka_mmdet.compat`) and nothing else:
models, hooks and data sets are imported when a config names them, and :mod:`pcka_mmdet.functional` needs torch alone.
"""

from .compat import activate

__version__ = "0.1.0"
__all__ = ["__version__"]

activate()
