"""Checks of a training before it starts. A `Finding` is one line of what `pcka-mmdet doctor` prints."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass

from pcka_mmdet.configuration.sentence import sentence

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Finding:
    """What a check says about a subject."""

    level: str
    """`OK`, `WARNING` or `ERROR`."""
    subject: str
    text: str


def findings_of(subject: str, check: Callable[[], str | list[str] | None], level: str = ERROR) -> list[Finding]:
    """Run a check, which returns a list of doubts or the text of an `OK`. What it raises is a finding of `level`."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what packages print
            result = check()
    except Exception as error:  # packages raise exceptions of any kind when they are imported or built
        return [Finding(level, subject, sentence(error))]
    if isinstance(result, list) and result:
        return [Finding(WARNING, subject, doubt) for doubt in result]
    return [Finding(OK, subject, result or "")]
