"""Workarounds for the MM packages on today's torch: one module for each trap, to be deleted on its own.

Every module says what fails and until when it is needed, and has an `apply()` that does nothing where the trap does
not exist: an older torch, a newer MM package, or no MM package at all. Applying twice is the same as applying once.
"""

from functools import cache

from . import mmcv_ceiling, onedl_loader, pkg_resources, safe_globals, torch_gate, torchvision_operators


@cache
def activate() -> None:
    """Apply all workarounds, once per process."""
    mmcv_ceiling.apply()  # the first: the others need an MMRazor that imports
    torch_gate.apply()
    safe_globals.apply()
    onedl_loader.apply()
    torchvision_operators.apply()
    pkg_resources.apply()
