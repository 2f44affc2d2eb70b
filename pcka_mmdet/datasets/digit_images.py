"""Scikit-learn's handwritten digits as images of 32x32 pixels, for classifiers.

`python -m pcka_mmdet.datasets.digit_images ROOT` writes `ROOT/images/0000.png` and so on, and lists of images with
their classes, as MMPretrain's `CustomDataset` reads them: `train.txt`, `val.txt`, `test.txt`, and `few.txt`,
which holds `FEW` training images of each class.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from . import digits
from .folder import check_replaceable, put_in_place, scratch_folder
from .resize import resize
from .splits import CLASSES, SPLITS, Stream

SIDE = 32
FEW = 5
NUM_IMAGES = 1797
FILES = re.compile(rf"images(/\d{{4}}\.png)?|({'|'.join(SPLITS)}|few)\.txt|info\.json")
"""Paths in the folder of a set."""

INFO = {"description": "digit images of pcka_mmdet", "version": 1, "side": SIDE, "few": FEW}


def build_digit_images(root: str | Path) -> Path:
    """Write the data set, unless it is there already. It appears only when it is complete.

    Args:
        root: The folder.

    Returns:
        `root` as an absolute path.

    Raises:
        FileExistsError: `root` holds something else. Nothing is changed.
    """
    root = Path(root).expanduser().resolve()
    if _is_complete(root):
        return root
    check_replaceable(root, "digit images", _info(root) is not None, FILES)
    with scratch_folder(root) as scratch:
        _write(scratch)
        put_in_place(root, scratch)
    return root


def few(classes: np.ndarray) -> np.ndarray:
    """Indices of the training images in `few.txt`, ascending: `FEW` of each class.

    Args:
        classes: Classes of all images, `(1797,)`.
    """
    training = digits.indices("train")
    chosen = []
    for label in range(len(CLASSES)):
        of_class = training[classes[training] == label]
        chosen.append(of_class[Stream(label, FEW).order(len(of_class))[:FEW]])
    return np.sort(np.concatenate(chosen))


def _write(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    ink, classes = digits.load()
    for index, image in enumerate(np.rint(ink * 255).astype(np.uint8)):
        grey = resize(image[..., None], SIDE)
        Image.fromarray(grey.repeat(3, axis=2)).save(folder / "images" / f"{index:04d}.png")
    lists = {split: digits.indices(split) for split in SPLITS} | {"few": few(classes)}
    for name, indices in lists.items():
        text = "".join(f"{index:04d}.png {classes[index]}\n" for index in indices)
        (folder / f"{name}.txt").write_text(text)
    (folder / "info.json").write_text(json.dumps(INFO))


def _is_complete(root: Path) -> bool:
    """Whether the set of this version is there with all its images."""
    return _info(root) == INFO and len(list((root / "images").glob("*.png"))) == NUM_IMAGES


def _info(root: Path) -> dict | None:
    try:
        info = json.loads((root / "info.json").read_text())
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) and info.get("description") == INFO["description"] else None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m pcka_mmdet.datasets.digit_images", description=__doc__)
    parser.add_argument("root", help="folder to write; a complete one is left unchanged")
    options = parser.parse_args(arguments)
    try:
        print(f"digit images in {build_digit_images(options.root)}")
    except OSError as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
