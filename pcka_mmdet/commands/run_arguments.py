"""Command line options and console of the tools that run stages."""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.benchmarking.measure import cores
from pcka_mmdet.configuration.carried import carried

from .arguments import add_cfg_options

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
        "--threads", type=int, default=default_threads(), help="threads of each training (default here: %(default)s)"
    )
    add_cfg_options(parser, f"settings of {trainings}")
    add_cfg_options(parser, "settings of the teacher's training alone", "--teacher-cfg-options")


def default_threads() -> int:
    """Number of this process's cores, at most `MOST_THREADS`."""
    return min(cores(), MOST_THREADS)


def add_runs_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument `runs` of the tools that compare trainings: folders by name, from words NAME=DIR."""
    parser.add_argument(
        "runs",
        nargs="+",
        action=NamedFolders,
        metavar="NAME=DIR",
        help="work directories of trainings, with their names",
    )


def add_picture_argument(parser: argparse.ArgumentParser, default: str | None, said: str = "%(default)s") -> None:
    """Add `--out`, the file of a picture. Its folder is made at once, so that no work is lost."""
    parser.add_argument("--out", type=_in_a_folder, default=default, help=f"default: {said}")


def _in_a_folder(file: str) -> Path:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class NamedFolders(argparse.Action):
    """Arguments NAME=DIR: work directories by what they are called in a table or a picture."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list, *rest) -> None:
        """Read them, and refuse what is no NAME=DIR, and two of one name."""
        found: dict[str, Path] = {}
        for word in values:
            name, _, folder = word.partition("=")
            if not (name and folder):
                parser.error(f"write NAME=DIR, such as heads=work_dirs/distilled; got {word!r}")
            if name in found:
                parser.error(f"two trainings are called {name!r}")
            found[name] = Path(folder)
        setattr(namespace, self.dest, found)


def make_console() -> Console:
    """Console as wide as the terminal; elsewhere wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)
