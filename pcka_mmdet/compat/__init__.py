"""Workarounds for the MM packages on today's torch. Each module says what fails and when it can be deleted.

`apply()` changes nothing where nothing fails, or the second time.
"""

from functools import cache

from . import mmrazor_import, pkg_resources, safe_globals, torchvision_operators


@cache
def activate() -> None:
    """Apply all workarounds, once per process."""
    mmrazor_import.apply()
    safe_globals.apply()
    torchvision_operators.apply()
    pkg_resources.apply()
