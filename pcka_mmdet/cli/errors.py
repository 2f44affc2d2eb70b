"""An error of a command ends it with one sentence; the traceback goes to the log file."""

import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import MMLogger

from pcka_mmdet.checkpoints.files import safe_loading
from pcka_mmdet.configuration.sentence import SENTENCES, sentence

STATUS = 2  # exit status of a command that has failed
INTERRUPTED = 130  # exit status after Ctrl-C, as of a shell
OPTION = "--traceback"  # shows the traceback; all commands take it


def run_tool(main: Callable[[], None]) -> None:
    """Run a command. An exception ends it with `STATUS` and its sentence on stderr.

    The traceback is appended to the log files of the run, and shown with `OPTION` on the command line.
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
        print(sentence(error), file=sys.stderr)
        files = _write_to_logs(error)
        hints = [f"the traceback is in {files[0]}"] if files else []
        if not shows_all and (files or not isinstance(error, SENTENCES)):
            hints.append(f"{OPTION} shows it" if files else f"{OPTION} shows the traceback")
        if hints:
            print(f"({', and '.join(hints)})", file=sys.stderr)
        sys.exit(STATUS)


def _write_to_logs(error: Exception) -> list[Path]:
    """Append the traceback to the log files of the run, and return them."""
    handlers = [handler for logger in MMLogger._instance_dict.values() for handler in logger.handlers]
    files = [Path(handler.baseFilename) for handler in handlers if isinstance(handler, logging.FileHandler)]
    files = [file for file in files if file.is_file()]
    for file in files:
        with file.open("a") as log:
            log.write("".join(traceback.format_exception(error)))
    return files
