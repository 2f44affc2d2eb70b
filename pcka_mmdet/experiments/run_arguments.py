"""Command line options of the tools that run stages, and the console they write to."""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.benchmarking.measure import cores
from pcka_mmdet.engine.launch import ConfigOptions

MOST_THREADS = 4  # more make trainings as small as the demo's no faster


def add_run_arguments(parser: argparse.ArgumentParser, work_dir: str, trainings: str = "every training") -> None:
    """Options in common; `work_dir` is a default, `trainings` says what `--cfg-options` change."""
    parser.add_argument(
        "--work-dir", type=Path, default=Path(work_dir), help="folder for all that is made (default: %(default)s)"
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=Path("configs/demo"),
        help="folder of teacher.py, student.py and distilled.py (default: %(default)s)",
    )
    parser.add_argument("--data-root", help="folder of the data (default: the configs' data_root)")
    parser.add_argument(
        "--threads", type=int, default=default_threads(), help="of each training (default here: %(default)s)"
    )
    for option, whose in (("--cfg-options", trainings), ("--teacher-cfg-options", "the teacher's training alone")):
        parser.add_argument(
            option, nargs="+", action=ConfigOptions, default={}, metavar="KEY=VALUE", help=f"settings of {whose}"
        )


def default_threads() -> int:
    """As many as this process has cores, within reason."""
    return min(cores(), MOST_THREADS)


def make_console() -> Console:
    """As wide as the terminal; elsewhere wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)
