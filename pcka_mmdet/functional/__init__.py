"""The mathematics of CKA distillation. It needs torch only, and works with any torch model."""

from .cka import cka
from .mmd import mmd
from .patches import extract_patches, patch_cka

__all__ = ["cka", "extract_patches", "mmd", "patch_cka"]
