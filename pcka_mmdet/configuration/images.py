"""Images without labels: a folder, a list, or a file in COCO's format."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

TURNED = (5, 6, 7, 8)
"""EXIF orientations whose width is the height on disk: MMDetection turns such images when it reads them."""
ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageSet:
    """Images, as COCO's format lists them."""

    source: str
    """What the user gave."""
    root: Path
    """Folder that file names begin in."""
    entries: list[dict]
    """`id`, `file_name`, `width` and `height` in pixels."""
    annotations: Path | None = None
    """The file in COCO's format, if it is one; the ids are then the user's."""

    @cached_property
    def by_name(self) -> dict[str, dict]:
        """Entries by file name, name without folder, and name without ending; ambiguous ones are left out."""
        names = [(alias, entry) for entry in self.entries for alias in _aliases(entry["file_name"])]
        counts = Counter(alias for alias, _ in names)
        return {alias: entry for alias, entry in names if counts[alias] == 1}


def read_images(source: str) -> ImageSet:
    """The images of a folder (with those within), of a `.txt` file with one path a line, or of a `.json` file in COCO's
    format, whose images are in its folder or, as `FILE.json:FOLDER`, in another.

    Raises:
        FileNotFoundError: The source, or an image that it lists, is missing.
        ValueError: There is no image, one is listed twice, damaged or of another size, or a file is not in its format.
    """
    file, _, folder = source.partition(".json:")
    path = Path(f"{file}.json" if folder else source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"there is no image in {source!r} or its folders: it needs {', '.join(SUFFIXES)}")
        return _of_files(source, path, [str(file.relative_to(path)) for file in files])
    if not path.is_file():
        raise FileNotFoundError(f"there is no folder or file {str(path)!r} (the current directory is {Path.cwd()})")
    if path.suffix == ".json":
        return _of_coco(source, path, Path(folder) if folder else path.parent)
    if path.suffix == ".txt":
        names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        if not names:
            raise ValueError(f"{source!r} is empty: it needs one path of an image a line")
        return _of_files(source, path.parent, names)
    raise ValueError(
        f"{source!r} lists no images: give a folder, a .txt file with one path a line, or a .json file in COCO's format"
    )


def _of_files(source: str, root: Path, names: Sequence[str]) -> ImageSet:
    _refuse_missing(source, root, names)
    _refuse_repeated(source, names)
    entries = []
    for number, name in enumerate(names, 1):
        width, height = _size(root / name)
        entries.append(dict(id=number, file_name=name, width=width, height=height))
    return ImageSet(source, root, entries)


def _of_coco(source: str, file: Path, root: Path) -> ImageSet:
    with file.open() as stream:  # an error of its JSON then names it
        content = json.load(stream)
    if isinstance(content, list):
        raise ValueError(
            f"{str(file)!r} is a list, as files of detections are: pcka-mmdet pseudo-label --results makes annotations "
            "of them"
        )
    try:
        listed = content["images"]
        entries = [{key: image[key] for key in ("id", "file_name", "width", "height")} for image in listed]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{str(file)!r} is not in COCO's format ({type(error).__name__}: {error}): it needs `images`, a list of "
            "dict(id=..., file_name=..., width=..., height=...)"
        ) from error
    if not entries:
        raise ValueError(f"{str(file)!r} lists no images")
    names = [entry["file_name"] for entry in entries]
    _refuse_missing(source, root, names)
    _refuse_repeated(source, names)
    _refuse_repeated(source, [f"the id {entry['id']}" for entry in entries])
    _refuse_other_sizes(file, root, entries)
    return ImageSet(source, root, entries, file)


def _refuse_missing(source: str, root: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(names)} images of {source!r} are missing, such as {str(root / missing[0])!r}: "
            "copy them, or take them out. If the images of a COCO file are in another folder, write FILE.json:FOLDER"
        )


def _refuse_repeated(source: str, names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{source!r} has {repeated[0]!r} twice, and {len(repeated) - 1} others: leave each in once")


def _refuse_other_sizes(file: Path, root: Path, entries: Sequence[dict]) -> None:
    found = ((entry, _size(root / entry["file_name"])) for entry in entries)
    differing = [(entry, size) for entry, size in found if {entry["width"], entry["height"]} != set(size)]
    if differing:
        entry, (width, height) = differing[0]
        raise ValueError(
            f"{len(differing)} of {len(entries)} images of {str(file)!r} have another size than it says, such as "
            f"{entry['file_name']!r}: {width} x {height} pixels, and {entry['width']} x {entry['height']} in the file. "
            "Write the sizes of the images; boxes are in their pixels"
        )


def open_image(file: str | Path) -> Image.Image:
    """Open an image of any size: Pillow would refuse large aerial images, which OpenCV reads."""
    Image.MAX_IMAGE_PIXELS = None
    return Image.open(file)


def _size(file: Path) -> tuple[int, int]:
    """Width and height as MMDetection reads the image."""
    try:
        with open_image(file) as image:
            turned = image.getexif().get(ORIENTATION) in TURNED
            return image.size[::-1] if turned else image.size
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"the image {str(file)!r} is damaged or empty: copy it again, or take it out") from error


def _aliases(name: str) -> set[str]:
    path = Path(name)
    return {name, path.name, path.stem}
