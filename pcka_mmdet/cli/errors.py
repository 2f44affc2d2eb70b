"""Errors of the command line tools end in one sentence; the traceback goes to the log file."""

import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import MMLogger

from pcka_mmdet.checkpoints.files import safe_loading
from pcka_mmdet.configuration.sentence import SENTENCES, sentence

STATUS = 2
"""Exit status of a tool that has failed."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell."""

OPTION = "--traceback"
"""Shows the whole traceback instead; all tools take it."""


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool. An exception ends it with `STATUS` and its message on stderr.

    The traceback is appended to the log files of the run, if there are any. With `OPTION` on the command line it is
    shown.
    """
    # MMEngine warns at each config of MMDetection
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    shows_all = OPTION in sys.argv
    sys.argv = [word for word in sys.argv if word != OPTION]
    try:
        with safe_loading():
            main()
    except KeyboardInterrupt as error:
        print(": ".join(["interrupted", *map(str, error.args)]), file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if shows_all:
            traceback.print_exception(error)
        print(f"{sentence(error)}{_where_the_traceback_is(error, shows_all)}", file=sys.stderr)
        sys.exit(STATUS)


def _where_the_traceback_is(error: Exception, shown: bool) -> str:
    """A second line, in brackets: the log file with the traceback, and the option that shows it. Writes that file.

    A sentence of ours without a log file is enough.
    """
    text = "".join(traceback.format_exception(error))
    files = []
    for logger in MMLogger._instance_dict.values():
        files += [Path(h.baseFilename) for h in logger.handlers if isinstance(h, logging.FileHandler)]
    files = [file for file in files if file.is_file()]
    for file in files:
        with file.open("a") as log:
            log.write(text)
    said = [f"the traceback is in {files[0]}"] if files else []
    if not shown and (files or not isinstance(error, SENTENCES)):
        said.append(f"{OPTION} shows it" if files else f"{OPTION} shows the traceback")
    return f"\n({', and '.join(said)})" if said else ""
