"""Check an installation, and a config before it is trained: `tools/doctor.py [CONFIG]`.

Each line begins with ok, warning or error. The exit status is 0 without an error, else 2.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from pcka_mmdet.engine.checks import ERROR, OK, WARNING, Finding
from pcka_mmdet.engine.checks.examination import examine
from pcka_mmdet.engine.checks.installation import examine_installation
from pcka_mmdet.engine.checks.teacher_check import check_options
from pcka_mmdet.engine.extra_images import add_extra_images
from pcka_mmdet.engine.training import TrainingOptions
from pcka_mmdet.report.scalars import last_metric

from .arguments import add_training_arguments, training_config
from .errors import STATUS

COLOURS = {OK: "green", WARNING: "yellow", ERROR: "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, config_is_optional=True)


def findings(args: argparse.Namespace, scratch: str) -> Iterator[Finding]:
    """All findings, as they come; `ValueError` if there are options for a config, and no config."""
    options = args.teacher, args.teacher_ckpt, args.recipe, args.teacher_scale, args.check_teacher, args.baseline
    if args.config is None and any((*options, args.cfg_options, args.amp, args.extra)):
        raise ValueError("these options are for a config: write pcka-mmdet doctor CONFIG ...")
    yield from examine_installation()
    if args.config is None:
        return
    config, recipe = training_config(args)
    if recipe:
        yield Finding(OK, "losses", recipe)
    config.work_dir, config.log_level = scratch, "ERROR"
    if args.extra:
        try:
            extra = add_extra_images(config, args.extra, args.extra_share)
        except (OSError, ValueError) as error:
            yield Finding(ERROR, "extra images", str(error))
        else:
            yield from (Finding(OK, "extra images", note) for note in extra.notes)
            yield from (Finding(WARNING, "extra images", doubt) for doubt in extra.doubts)
    baseline = args.baseline and last_metric(args.baseline, check_options(config)["metric"])
    yield from examine(config, args.check_teacher, baseline, TrainingOptions(amp=args.amp))


def run(args: argparse.Namespace) -> None:
    console = Console(soft_wrap=True, highlight=False)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for finding in findings(args, scratch):
            text = f": {escape(finding.text)}" if finding.text else ""
            console.print(f"[{COLOURS[finding.level]}]{finding.level:7}[/] {escape(finding.subject)}{text}")
            failed |= finding.level == ERROR
    sys.exit(STATUS if failed else 0)
