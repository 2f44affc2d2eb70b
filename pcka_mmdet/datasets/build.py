"""Write the embedded data set: `python -m pcka_mmdet.datasets.build ROOT`."""

import argparse
import sys
import time
from collections.abc import Iterator

from .digit_scenes import SIZES, build_digit_scenes

__all__ = ["build_digit_scenes", "main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m pcka_mmdet.datasets.build", description=__doc__)
    parser.add_argument("root", help="folder to write; a complete one is left unchanged")
    for split, size in SIZES.items():
        parser.add_argument(f"--{split}", type=int, default=size, metavar="N", help=f"scenes in {split} ({size})")
    parser.add_argument("--image-size", type=int, default=128, metavar="PIXELS", help="side of the pictures (128)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other scenes (0)")
    options = parser.parse_args(arguments)
    sizes = {split: getattr(options, split) for split in SIZES}
    try:
        root = build_digit_scenes(options.root, sizes, options.image_size, options.seed, progress=_show)
    except (ValueError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was changed")
    print(f"{sum(sizes.values())} scenes in {root}")


def _show(scenes: list) -> Iterator:
    """Yield the scenes, and print the progress and the remaining time every second."""
    for done, scene in enumerate(scenes):
        now = time.monotonic()
        if done <= 1:  # the first scene also loads scikit-learn's digits, so its time does not count
            start = shown = now
        elif now - shown >= 1:
            shown = now
            remaining = (now - start) / (done - 1) * (len(scenes) - done)
            print(f"  scene {done} of {len(scenes)}, {remaining:.0f} s left", file=sys.stderr, flush=True)
        yield scene


if __name__ == "__main__":
    main()
