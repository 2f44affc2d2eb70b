"""The digit scenes as a folder: written completely or not at all, once, and over no other files.

Boxes enclose the *visible* pixels, as in COCO: where a later digit or the border hides the end of a digit, its box ends
there too. There are no segmentations, so `area` is the area of the box. COCO's small, medium and large then sort
ground truth and detections by the same measure.

An image has COCO's keys, and `photograph` and `crop` (x, y, width, height), the part of the photograph that it shows.
An annotation has COCO's keys, and `digit`, its number in scikit-learn's set.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from PIL import Image

from . import digits, photographs
from .folder import write_once
from .reproducible import CLASSES, SPLITS
from .scenes import Scene, compose

DESCRIPTION = "pcka_mmdet digit scenes: handwritten digits (scikit-learn) on photographs (scikit-image, scikit-learn)"
VERSION = "1"  # raise it with every change that alters a scene
SIZES = {"train": 1000, "val": 150, "test": 250}
IMAGE_SIZES = (64, 1024)


def build_digit_scenes(
    root: str | Path,
    sizes: Mapping[str, int] = SIZES,
    image_size: int = 128,
    seed: int = 0,
    progress: Callable[[list], Iterable] = iter,
) -> Path:
    """Write the data set, unless it is there already; return its absolute path.

    `root` then holds `train/000000.png` and so on, `val`, `test` and `annotations/{train,val,test}.json`. It
    appears only when it is complete: an interrupted call leaves `root` as it was.

    Args:
        sizes: Number of scenes in `train`, `val` and `test`, at least 1 each.
        image_size: Side of the pictures in pixels, 64 to 1024. The digits stay 14 to 56 pixels high.
        seed: 0 to 2**32 - 1. It does not change which digits and photograph regions a split draws from.
        progress: Wraps the list of scenes, for instance `tqdm.tqdm`.

    Raises:
        ValueError: If sizes, image size or seed are out of range.
        FileExistsError: If `root` holds anything else, such as a set of other parameters. Nothing is changed.
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
        "set of digit scenes",
        is_complete=lambda folder: _is_complete(folder, info),
        write=lambda folder: _write(folder, info, progress),
    )


def _check_arguments(sizes: Mapping[str, int], image_size: int, seed: int) -> None:
    limits = {f"sizes[{split!r}]": (sizes.get(split), 1, 999_999) for split in SPLITS}
    limits |= {"image_size": (image_size, *IMAGE_SIZES), "seed": (seed, 0, 2**32 - 1)}
    for name, (value, low, high) in limits.items():
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{name} should be an integer from {low} to {high}, got {value!r}")


def _write(folder: Path, info: dict, progress: Callable[[list], Iterable]) -> None:
    """Write the whole set into a new folder. Ids start at 1: pycocotools ignores a match with id 0."""
    digits.load()  # a package or file that is missing is named before a folder is made
    for name in photographs.NAMES:
        photographs.path(name)
    categories = [dict(id=number, name=name, supercategory="digit") for number, name in enumerate(CLASSES, start=1)]
    contents = {split: dict(info=info, images=[], annotations=[], categories=categories) for split in SPLITS}
    for name in (*SPLITS, "annotations"):
        (folder / name).mkdir(parents=True)
    scenes = [(split, index) for split in SPLITS for index in range(info["sizes"][split])]
    for split, index in progress(scenes):
        scene = compose(info["seed"], split, index, info["image_size"])
        file_name = f"{index:06d}.png"
        Image.fromarray(scene.image).save(folder / split / file_name, compress_level=1)
        _add_scene(contents[split], scene, file_name)
    for split, content in contents.items():
        text = json.dumps(content, separators=(",", ":")) + "\n"
        (folder / "annotations" / f"{split}.json").write_bytes(text.encode())


def _add_scene(content: dict, scene: Scene, file_name: str) -> None:
    """Append a scene, shown by `file_name`, to the content of an annotation file."""
    images, annotations = content["images"], content["annotations"]
    height, width, _ = scene.image.shape
    top, left, crop_height, crop_width = scene.crop
    shown = dict(photograph=scene.photograph, crop=[left, top, crop_width, crop_height])
    images.append(dict(id=len(images) + 1, file_name=file_name, width=width, height=height, **shown))
    for digit, label, box in zip(scene.digits.tolist(), scene.labels.tolist(), scene.boxes.tolist(), strict=True):
        values = dict(bbox=box, area=box[2] * box[3], iscrowd=0, digit=digit)
        annotations.append(dict(id=len(annotations) + 1, image_id=len(images), category_id=label + 1, **values))


def _is_complete(root: Path, info: dict) -> bool:
    """Whether the set of these parameters is there with all its images."""
    for split in SPLITS:
        try:
            content = json.loads((root / "annotations" / f"{split}.json").read_bytes())
            same = content["info"] == info
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if not same or len(list((root / split).glob("*.png"))) != info["sizes"][split]:
            return False
    return True
