"""Command line options and console of the tools that run stages."""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.benchmarking.measure import cores
from pcka_mmdet.configuration.carried import carried

from .arguments import add_cfg_options, positive

MOST_THREADS = 4  # more do not speed up trainings as small as the demo's


def add_run_arguments(parser: argparse.ArgumentParser, work_dir: str, trainings: str = "every training") -> None:
    """Add the common options; `work_dir` is a default, and `trainings` says what `--cfg-options` changes."""
    parser.add_argument(
        "--work-dir", type=Path, default=Path(work_dir), help="folder for all outputs (default: %(default)s)"
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=carried("configs") / "demo",
        help="folder of teacher.py, student.py and distilled.py (default: %(default)s)",
    )
    parser.add_argument("--data-root", help="folder of the data (default: the configs' data_root)")
    parser.add_argument(
        "--threads",
        type=positive,
        default=default_threads(),
        help="threads of each training (default here: %(default)s)",
    )
    add_cfg_options(parser, f"settings of {trainings}")
    add_cfg_options(parser, "settings of the teacher's training alone", "--teacher-cfg-options")


def default_threads() -> int:
    """Number of this process's cores, at most `MOST_THREADS`."""
    return min(cores(), MOST_THREADS)


def make_console() -> Console:
    """Console as wide as the terminal; elsewhere wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)
