"""Write the embedded data set: `python -m pcka_mmdet.datasets.build ROOT`."""

import argparse
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.progress import track

from .command import make_parser, run
from .digit_scenes import SIZES, build_digit_scenes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser("pcka_mmdet.datasets.build", __doc__)
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


if __name__ == "__main__":
    main()
