"""Scikit-learn's handwritten digits as images of 32x32 pixels, for classifiers.

`python -m research.classification.digit_images ROOT` writes `ROOT/images/0000.png` and so on, and lists of images with
their classes, as MMPretrain's `CustomDataset` reads them: `train.txt`, `val.txt`, `test.txt`, and `few.txt`,
which holds `FEW` training images of each class.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pcka_mmdet.demo import digits
from pcka_mmdet.demo.folder import write_once
from pcka_mmdet.demo.reproducible import CLASSES, SPLITS, Stream, resize
from research.data.command import make_parser, run

SIDE = 32
FEW = 5
NUM_IMAGES = 1797
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
    return write_once(root, "set of digit images", _is_complete, _write)


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
    try:
        info = json.loads((root / "info.json").read_text())
    except (OSError, ValueError):
        return False
    return info == INFO and len(list((root / "images").glob("*.png"))) == NUM_IMAGES


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser("research.classification.digit_images", __doc__)
    run(parser, arguments, lambda options: f"digit images in {build_digit_images(options.root)}")


if __name__ == "__main__":
    main()
