"""Attempts that may fail, such as an operator that the processor lacks."""

from collections.abc import Callable
from typing import TypeVar

import torch
from mmengine.dist import broadcast_object_list, is_main_process

Result = TypeVar("Result")

OutOfMemoryError = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)
"""A RuntimeError; torch before 2.5 has it in `torch.cuda`."""


def first_process_decides(attempt: Callable[[], Result]) -> Result:
    """Make an attempt in the first process, and return its result in all processes, which must all call this."""
    result = [attempt() if is_main_process() else None]
    broadcast_object_list(result)
    return result[0]


def tried(attempt: Callable[[], Result], *errors: type[Exception]) -> tuple[Result | None, Exception | None]:
    """The result of an attempt, or its error of one of these types.

    Out of memory is raised: it does not tell whether an operator is supported.
    """
    try:
        return attempt(), None
    except OutOfMemoryError:
        raise
    except errors as error:
        return None, error
