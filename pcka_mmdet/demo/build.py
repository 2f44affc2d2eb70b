"""Write the digit scenes: `python -m pcka_mmdet.demo.build ROOT`."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.progress import track

from .digit_scenes import SIZES, build_digit_scenes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m pcka_mmdet.demo.build", description=__doc__)
    parser.add_argument("root", help="folder to write; a complete one is left unchanged")
    for split, size in SIZES.items():
        parser.add_argument(f"--{split}", type=int, default=size, metavar="N", help=f"scenes in {split} ({size})")
    parser.add_argument("--image-size", type=int, default=128, metavar="PIXELS", help="side of the pictures (128)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes (0)")
    args = parser.parse_args(arguments)
    sizes = {split: getattr(args, split) for split in SIZES}
    progress = partial(track, description="scenes", console=Console(stderr=True))
    try:
        root = build_digit_scenes(args.root, sizes, args.image_size, args.seed, progress)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was changed")
    print(f"{sum(sizes.values())} scenes in {root}")


if __name__ == "__main__":
    main()
