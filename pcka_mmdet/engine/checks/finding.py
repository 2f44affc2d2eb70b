"""A finding of the doctor: what is right, what is doubtful, what is wrong and how to mend it."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pcka_mmdet.configuration.sentence import sentence

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Finding:
    """One line of the result."""

    level: str
    """`OK`, `WARNING` or `ERROR`."""
    subject: str
    text: str


def finding_of(subject: str, check: Callable[[], Any], level: str = ERROR) -> Finding:
    """The finding of a check: what it returns is right, what it raises is of that level."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what packages print
            return Finding(OK, subject, check() or "")
    except Exception as error:  # packages fail in any way when they are imported or built
        return Finding(level, subject, sentence(error))
