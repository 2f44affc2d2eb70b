"""Command line options of the tools that compare trainings or draw: trainings by name, and the picture's file."""

import argparse
from pathlib import Path


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
