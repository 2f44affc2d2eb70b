"""Write the embedded data set: `python -m pcka_mmdet.demo.build ROOT`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import Console
from rich.progress import track

from .digit_scenes import SIZES, build_digit_scenes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser("pcka_mmdet.demo.build", __doc__)
    for split, size in SIZES.items():
        parser.add_argument(f"--{split}", type=int, default=size, metavar="N", help=f"scenes in {split} ({size})")
    parser.add_argument("--image-size", type=int, default=128, metavar="PIXELS", help="side of the pictures (128)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other scenes (0)")
    progress = partial(track, description="scenes", console=Console(stderr=True))

    def write(options: argparse.Namespace) -> str:
        sizes = {split: getattr(options, split) for split in SIZES}
        root = build_digit_scenes(options.root, sizes, options.image_size, options.seed, progress=progress)
        return f"{sum(sizes.values())} scenes in {root}"

    run(parser, arguments, write)


def make_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the argument that all have."""
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


if __name__ == "__main__":
    main()
