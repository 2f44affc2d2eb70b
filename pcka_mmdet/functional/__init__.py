"""The mathematics of CKA distillation, in torch alone: usable with any torch model, mm* packages or not."""

from .cka import cka
from .mmd import mmd
from .patch_cka import patch_cka
from .patches import extract_patches

__all__ = ["cka", "extract_patches", "mmd", "patch_cka"]
