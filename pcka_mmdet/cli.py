"""The program `pcka-mmdet`: one name for all tools, which an installed wheel carries."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from pcka_mmdet.configuration.carried import carried
from pcka_mmdet.configuration.installed import missing, releases

COMMANDS = {
    "train": ("train.py", "train a detector, by distillation or alone"),
    "doctor": ("doctor.py", "check an installation, and a config before it is trained"),
    "test": ("test.py", "evaluate a detector"),
    "export": ("export_student.py", "write the student of a checkpoint as a plain MMDetection checkpoint"),
    "export-onnx": ("export_onnx.py", "write a one-stage student as an ONNX file"),
    "report": ("report.py", "write a distillation's report as one HTML page"),
    "feature-maps": ("feature_maps.py", "pictures of the neck maps of teacher and student for one image"),
    "similarity": ("similarity.py", "CKA of the neck levels of two detectors on a data set"),
    "plan": ("plan.py", "estimate time, memory and traffic of a distillation"),
    "replay": ("replay_nonfinite.py", "repeat a step whose loss was not finite"),
    "demo": ("demo.py", "train and compare teacher, student and distilled student"),
    "benchmark": ("benchmarks/methods.py", "compare distillation methods"),
}
"""File in `tools`, and what it does, by command."""


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    more = [
        "pcka-mmdet COMMAND --help lists its options, pcka-mmdet --version what is installed. With --traceback, any",
        "command shows an error's whole traceback",
    ]
    return "\n".join(["usage: pcka-mmdet COMMAND ...", "", *lines, "", *more])


def main() -> None:
    """Run the tool that the command line names, with the rest of the command line."""
    command, words = sys.argv[1:2], sys.argv[2:]
    if not command or command[0] in ("-h", "--help"):
        print(usage())
        return
    if command[0] == "--version":
        print(releases())
        return
    if command[0] not in COMMANDS:
        print(f"pcka-mmdet: there is no command {command[0]!r}\n\n{usage()}", file=sys.stderr)
        sys.exit(2)
    if sentences := missing():
        print(*sentences, sep="\n", file=sys.stderr)
        sys.exit(2)
    from pcka_mmdet.commands.short_errors import run_tool  # here: it takes seconds

    sys.argv = [f"pcka-mmdet {command[0]}", *words]
    run_tool(lambda: _load(carried("tools") / COMMANDS[command[0]][0]).main())


def _load(tool: Path) -> ModuleType:
    """A tool as a module; `runpy` would put its path before the options that it shows."""
    spec = importlib.util.spec_from_file_location(f"pcka_mmdet_tools_{tool.stem}", tool)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
