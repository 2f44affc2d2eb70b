"""Fetch DeepPCB, photographs of circuit boards, in COCO's format: `python -m research.data.deeppcb ROOT`.

The public data set (https://github.com/tangsanli5201/DeepPCB, MIT licence) holds 1,500 grey photographs of 640x640
pixels with boxes around six kinds of defects. They are halved to 320x320. Its own 500 test photographs are kept; of
the other 1,000, 200 at random are for validation. The defect-free template of each photograph is left out.
"""

import hashlib
import io
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .archive import Archive, PublicSet, say
from .coco import CocoSplit

URL = "https://codeload.github.com/tangsanli5201/DeepPCB/zip/refs/heads/master"
DESCRIPTION = "DeepPCB (github tangsanli5201/DeepPCB, MIT) at half its resolution, boxes converted to COCO"
CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
LISTS = "4b7ffe7258ce02105bf94b57d1c189c315eee410923a15cde7974c96bc1cc150"
"""sha256 of the names of its two lists, which the split depends on."""

VALIDATION = 200
"""Photographs of the data set's own training list that are for validation."""


def _convert(archive: Archive, folder: Path) -> None:
    """Write the data set from its repository's archive into a new folder."""
    parent = archive.folder_of("PCBData/trainval.txt") + "PCBData/"
    (folder / "images").mkdir(parents=True)
    trainval, test = (archive.read(f"{parent}{name}.txt").decode().splitlines() for name in ("trainval", "test"))
    names = [Path(line.split()[0]).stem for line in (*trainval, *test) if line.strip()]
    if hashlib.sha256("\n".join(names).encode()).hexdigest() != LISTS:
        raise ValueError(f"the lists of the archive are not those of DeepPCB as it was converted before: see {URL}")
    random.Random(0).shuffle(trainval)
    splits = dict(train=trainval[:-VALIDATION], val=trainval[-VALIDATION:], test=test)
    for split, lines in splits.items():
        say(f"converting {len(lines)} photographs of {split}")
        content = CocoSplit({"description": DESCRIPTION}, CLASSES)
        for image, boxes in (line.split() for line in lines if line.strip()):
            photograph = archive.read(f"{parent}{image.removesuffix('.jpg')}_test.jpg")
            photograph = Image.open(io.BytesIO(photograph)).convert("L").reduce(2)
            name = f"{Path(image).stem}.jpg"
            photograph.save(folder / "images" / name, quality=95)
            content.add_image(name, *photograph.size)
            _add_boxes(content, archive.read(parent + boxes).decode())
        content.write(folder / f"{split}.json")
    archive.copy_licence(folder)


def _add_boxes(content: CocoSplit, text: str) -> None:
    """Add the boxes of a photograph: lines of left, top, right, bottom in its own pixels, and the number of a class."""
    for line in text.splitlines():
        if line.strip():
            *box, number = (int(value) for value in line.split())
            if not 1 <= number <= len(CLASSES):
                raise ValueError(f"a defect of class {number}; expected 1 to {len(CLASSES)}, as at {URL}")
            content.add_box(CLASSES[number - 1], *(value / 2 for value in box))


DEEPPCB = PublicSet("DeepPCB", URL, DESCRIPTION, _convert)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    DEEPPCB.run(arguments, "research.data.deeppcb", __doc__)


if __name__ == "__main__":
    main()
