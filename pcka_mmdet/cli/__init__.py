"""The command line: `pcka-mmdet COMMAND`, `python -m pcka_mmdet COMMAND` and `tools/*.py` call `main`.

Each command is a module of this folder with `add_arguments(parser)` and `run(args)`, imported when it is asked for.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from pcka_mmdet.configuration.installed import missing, releases

COMMANDS = {
    "train": "train a detector, by distillation or without a teacher",
    "doctor": "check an installation, and a config before it is trained",
    "test": "evaluate a detector",
    "pseudo-label": "write a teacher's boxes on images without labels as an annotation file",
    "export": "write the student of a checkpoint as a plain MMDetection checkpoint",
    "export-onnx": "write a one-stage student as an ONNX file",
    "report": "write a distillation's report as one HTML page",
    "detections": "draw detections of trainings on test images",
    "confusion": "draw confusion matrices of trainings",
    "curves": "draw AP and CKA along trainings",
    "feature-maps": "draw the neck maps of teacher and student for one image",
    "similarity": "compute the CKA of the neck levels of two detectors on a data set",
    "plan": "estimate time, memory and traffic of a distillation",
    "replay": "repeat a step whose loss was not finite",
    "demo": "train and compare teacher, student and distilled student",
}
"""What each command does."""

MORE = "pcka-mmdet COMMAND --help lists its options. With --traceback, any command shows an error's whole traceback."


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of the command line, with the options of one command: its module is imported."""
    parser = argparse.ArgumentParser(prog="pcka-mmdet", epilog=MORE)
    parser.add_argument("--version", action="store_true", help="show what is installed")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        subparser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == command:
            _module(name).add_arguments(subparser)
    return parser


def main(words: Sequence[str] | None = None, command: str | None = None) -> None:
    """Run the command line `words`, by default the program's. A tool gives its `command`, which is not in `words`."""
    words = [*([command] if command else []), *(sys.argv[1:] if words is None else words)]
    name = next((word for word in words if not word.startswith("-")), None)
    if name not in COMMANDS:
        args = make_parser().parse_args(words)
        print(releases() if args.version else make_parser().format_help().rstrip())
        return
    if sentences := missing():
        print(*sentences, sep="\n", file=sys.stderr)
        sys.exit(2)
    from .errors import run_tool  # here: it takes seconds

    sys.argv = ["pcka-mmdet", *words]  # for the log, and without a tool's path
    run_tool(lambda: _module(name).run(make_parser(name).parse_args()))


def _module(command: str):
    return importlib.import_module(f"{__name__}.{command.replace('-', '_')}")
