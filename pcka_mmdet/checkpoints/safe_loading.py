"""Load checkpoints by torch's safe loader, whatever a call asks for."""

import contextlib
import os
from collections.abc import Iterator

from pcka_mmdet.compat.safe_globals import loads_safely

FORCE, FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""torch's environment variables."""


@contextlib.contextmanager
def safe_loading() -> Iterator[None]:
    """While the context lasts, torch takes its safe loader even where a call asks for the other one, as OneDL's does.

    Our tools and functions run in it; a program of the user's own is left as it is. Nothing changes where the user has
    set one of the variables, and before torch 2.6, whose safe loader refuses MMEngine's checkpoints.
    """
    if not loads_safely() or {FORCE, FORCE_NOT} & os.environ.keys():
        yield
        return
    os.environ[FORCE] = "1"
    try:
        yield
    finally:
        os.environ.pop(FORCE, None)
