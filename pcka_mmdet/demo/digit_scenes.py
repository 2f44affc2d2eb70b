"""The digit scenes as a folder: written completely or not at all, written once, and never over other files.

Boxes enclose the *visible* pixels, as in COCO: where a later digit or the border hides the end of a digit, its box ends
there too. There are no segmentations, so `area` is the area of the box. COCO's small, medium and large then sort
ground truth and detections by the same measure.

Besides COCO's own keys, an image has `photograph` and `crop` (x, y, width, height), the part of the photograph that it
shows. An annotation has `digit`, its number in scikit-learn's set.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from PIL import Image

from .coco import CocoSplit
from .folder import check_replaceable, write_once
from .reproducible import CLASSES, SPLITS
from .scenes import HEIGHT, Scene, compose

DESCRIPTION = "pcka_mmdet digit scenes: handwritten digits (scikit-learn) on photographs (scikit-image, scikit-learn)"
VERSION = "1"  # raise it with every change that alters a scene: sets of another version are built again
SIZES = {"train": 1000, "val": 150, "test": 250}
IMAGE_SIZES = (64, 1024)
_SPLIT = f"({'|'.join(SPLITS)})"
FILES = re.compile(rf"{_SPLIT}(/\d{{6}}\.png)?|annotations(/{_SPLIT}\.json)?")
"""Paths in the folder of a set."""


def build_digit_scenes(
    root: str | Path,
    sizes: Mapping[str, int] = SIZES,
    image_size: int = 128,
    seed: int = 0,
    progress: Callable[[list], Iterable] | None = None,
) -> Path:
    """Write the data set, unless it is there already.

    `root` then holds `train/000000.png` and so on, `val`, `test` and `annotations/{train,val,test}.json`. It
    appears only when it is complete: an interrupted call leaves `root` as it was.

    Args:
        root: The folder. One with a set of other parameters is replaced.
        sizes: Number of scenes in `train`, `val` and `test`, at least 1 each.
        image_size: Side of the pictures in pixels, 64 to 1024. The digits stay 14 to 56 pixels high.
        seed: 0 to 2**32 - 1. It does not change which digits and photograph regions a split draws from.
        progress: Wraps the list of scenes, for instance `tqdm.tqdm`.

    Returns:
        `root` as an absolute path.

    Raises:
        ValueError: If sizes, image size or seed are out of range.
        FileExistsError: If `root` is, or holds, anything that this function did not write. Nothing is changed.
        FileNotFoundError: If the installed scikit-image lacks a photograph.
    """
    _check_arguments(sizes, image_size, seed)
    info = {
        "description": DESCRIPTION,
        "version": VERSION,
        "seed": seed,
        "image_size": image_size,
        "sizes": {split: int(sizes[split]) for split in SPLITS},
    }
    return write_once(
        root,
        is_complete=lambda folder: _is_complete(folder, info),
        check=lambda folder: check_replaceable(folder, "digit scenes", _is_ours(folder), FILES),
        write=lambda folder: _write(folder, info, progress or iter),
    )


def _check_arguments(sizes: Mapping[str, int], image_size: int, seed: int) -> None:
    if set(sizes) != set(SPLITS) or not all(_is_integer(size, 1, 999_999) for size in sizes.values()):
        raise ValueError(
            f"sizes={dict(sizes)!r} should give a number from 1 to 999999 for each of {', '.join(SPLITS)}; write for "
            f"instance sizes={SIZES}"
        )
    if not _is_integer(image_size, *IMAGE_SIZES):
        raise ValueError(
            f"image_size={image_size!r} should be an integer from {IMAGE_SIZES[0]} to {IMAGE_SIZES[1]} pixels, "
            f"because digits are up to {HEIGHT[1]} high; write for instance image_size=128"
        )
    if not _is_integer(seed, 0, 2**32 - 1):
        raise ValueError(f"seed={seed!r} should be an integer from 0 to 2**32 - 1; write for instance seed=0")


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _write(folder: Path, info: dict, progress: Callable[[list], Iterable]) -> None:
    """Write the whole set into a new folder."""
    contents = {split: CocoSplit(info, CLASSES, supercategory="digit") for split in SPLITS}
    for name in (*SPLITS, "annotations"):
        (folder / name).mkdir(parents=True)
    scenes = [(split, index) for split in SPLITS for index in range(info["sizes"][split])]
    for split, index in progress(scenes):
        scene = compose(info["seed"], split, index, info["image_size"])
        file_name = f"{index:06d}.png"
        Image.fromarray(scene.image).save(folder / split / file_name, compress_level=1)
        _add_scene(contents[split], scene, file_name)
    for split, annotations in contents.items():
        text = json.dumps(annotations.content, separators=(",", ":")) + "\n"
        (folder / "annotations" / f"{split}.json").write_bytes(text.encode())


def _add_scene(content: CocoSplit, scene: Scene, file_name: str) -> None:
    """Append a scene, shown by `file_name`."""
    height, width, _ = scene.image.shape
    top, left, crop_height, crop_width = scene.crop
    crop = [left, top, crop_width, crop_height]
    content.add_image(file_name, width, height, photograph=scene.photograph, crop=crop)
    for digit, label, box in zip(scene.digits.tolist(), scene.labels.tolist(), scene.boxes.tolist(), strict=True):
        x, y, box_width, box_height = box
        content.add_box(CLASSES[label], x, y, x + box_width, y + box_height, digit=digit)


def _is_ours(root: Path) -> bool:
    """Whether a folder holds a set of any version and parameters, complete or not."""
    return any(_read_info(root, split) for split in SPLITS)


def _read_info(root: Path, split: str) -> dict | None:
    """The `info` of an annotation file; None if the file is missing, unreadable or not ours."""
    try:
        info = json.loads((root / "annotations" / f"{split}.json").read_bytes())["info"]
        return info if info["description"] == DESCRIPTION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_complete(root: Path, info: dict) -> bool:
    return all(
        _read_info(root, split) == info and len(list((root / split).glob("*.png"))) == info["sizes"][split]
        for split in SPLITS
    )
