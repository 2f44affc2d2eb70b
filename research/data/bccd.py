"""Fetch BCCD, photographs of blood cells, in COCO's format: `python -m research.data.bccd ROOT`.

The public data set (https://github.com/Shenggan/BCCD_Dataset, MIT licence) holds 364 photographs in PASCAL VOC's
format. Its own splits of 205, 87 and 72 photographs are kept.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from pcka_mmdet.demo.reproducible import SPLITS

from .archive import Archive, PublicSet, say
from .coco import CocoSplit

URL = "https://codeload.github.com/Shenggan/BCCD_Dataset/zip/ec96fe4104e9bb329f0d263db95cf1edd8c09909"
DESCRIPTION = "BCCD blood cells (github Shenggan/BCCD_Dataset, MIT), VOC boxes converted to COCO"
CLASSES = ("RBC", "WBC", "Platelets")


def _convert(archive: Archive, folder: Path) -> None:
    """Write the data set from its repository's archive into a new folder."""
    parent = archive.folder_of(f"ImageSets/Main/{SPLITS[0]}.txt")
    (folder / "images").mkdir(parents=True)
    for split in SPLITS:
        names = archive.read(f"{parent}ImageSets/Main/{split}.txt").decode().split()
        say(f"converting {len(names)} photographs of {split}")
        content = CocoSplit({"description": DESCRIPTION}, CLASSES)
        for name in names:
            pixels = archive.read(f"{parent}JPEGImages/{name}.jpg")
            (folder / "images" / f"{name}.jpg").write_bytes(pixels)
            content.add_image(f"{name}.jpg", *Image.open(io.BytesIO(pixels)).size)
            _add_boxes(content, archive.read(f"{parent}Annotations/{name}.xml"))
        content.write(folder / f"{split}.json")
    archive.copy_licence(folder)


def _add_boxes(content: CocoSplit, voc: bytes) -> None:
    """Add the boxes of a photograph's VOC annotation."""
    for entry in ElementTree.fromstring(voc).iter("object"):
        box = (float(entry.findtext(f"bndbox/{e}")) for e in ("xmin", "ymin", "xmax", "ymax"))
        content.add_box(entry.findtext("name"), *box)


BCCD = PublicSet("BCCD", URL, DESCRIPTION, _convert)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    BCCD.run(arguments, "research.data.bccd", __doc__)


if __name__ == "__main__":
    main()
