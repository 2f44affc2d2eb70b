"""The command line of modules that write a data set: `python -m MODULE ROOT`."""

import argparse
import sys
from collections.abc import Callable, Sequence


def make_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the argument `root`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("root", help="folder to write; a complete one is left unchanged")
    return parser


def run(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, write: Callable[[argparse.Namespace], str]
) -> None:
    """Write the folder and print what `write` returns; an error or an interruption ends in a sentence."""
    options = parser.parse_args(arguments)
    try:
        print(write(options))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was changed")
