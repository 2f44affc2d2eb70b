"""Errors of the command line tools end in one sentence; the traceback goes to the log file."""

import difflib
import inspect
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

STATUS = 2
"""Exit status of a tool that has failed."""

OPTION = "--traceback"
"""Shows the whole traceback instead; all tools take it."""

SENTENCES = (ValueError, FileNotFoundError, FloatingPointError)
"""Exceptions whose message is shown without their name: what we raise ourselves."""


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool. An exception ends it with `STATUS` and its message on stderr.

    The traceback is appended to the log files of the run, if there are any. With `OPTION` on the command line it is
    shown.
    """
    shows_all = OPTION in sys.argv
    sys.argv = [word for word in sys.argv if word != OPTION]
    try:
        main()
    except SystemExit as error:
        if not isinstance(error.code, str):
            raise
        if shows_all and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        print(error.code, file=sys.stderr)
        sys.exit(STATUS)
    except Exception as error:
        if shows_all:
            traceback.print_exception(error)
        print(f"{sentence(error)}\n({_where_the_traceback_is(error)})", file=sys.stderr)
        sys.exit(STATUS)


def sentence(error: Exception | SystemExit) -> str:
    """What an exception says, without its traceback: the file of broken JSON, the closest name to a misspelt one."""
    if isinstance(error, SystemExit):
        return str(error.code)
    if isinstance(error, json.JSONDecodeError):
        names = [value.name for value in _locals(error) if hasattr(value, "read") and hasattr(value, "name")]
        file = repr(str(names[-1])) if names else "a file"
        return f"{file} is no valid JSON: {error}. Make or copy it again"
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Original Traceback" in message:  # of a process that loads data
        message = message.strip().splitlines()[-1]
    elif not isinstance(error, SENTENCES):
        message = f"{type(error).__name__}: {message}"
    return message + _closest_argument(error)


def _closest_argument(error: Exception) -> str:
    """Advice for a config with an argument that its type does not have; empty for any other error."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if not isinstance(error, TypeError) or not found:
        return ""
    kinds = [value for value in _locals(error, "obj_cls") if inspect.isclass(value)]  # in MMEngine's build_from_cfg
    names = [
        name for kind in kinds[-1:] for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters
    ]
    names = [name for name in dict.fromkeys(names) if name not in ("self", "args", "kwargs")]
    close = difflib.get_close_matches(found[1], names, n=1)
    if close:
        return f". Did you mean {close[0]}?"
    return f". It takes {', '.join(names)}" if names else ""


def _locals(error: Exception, name: str | None = None) -> Iterator[Any]:
    """Values of the local variables, or of those of one name, from where an exception was caught to where it arose."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for key, value in frame.f_locals.items():
            if name in (None, key):
                yield value


def _where_the_traceback_is(error: Exception) -> str:
    text = "".join(traceback.format_exception(error))
    files = []
    for logger in MMLogger._instance_dict.values():
        files += [Path(h.baseFilename) for h in logger.handlers if isinstance(h, logging.FileHandler)]
    files = [file for file in files if file.is_file()]
    for file in files:
        with file.open("a") as log:
            log.write(text)
    where = f"the traceback is in {files[0]}, and " if files else ""
    return f"{where}{OPTION} shows it"
