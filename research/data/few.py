"""A data set of which few training images are labelled: `python -m research.data.few ROOT --of DATA --labelled LIST`.

The lists of labelled images are in `few/`: a tenth and a quarter of the training images, drawn once (`draw`).
"""

import json
import os
import random
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from .command import make_parser, run

LISTS = Path(__file__).with_name("few")

TRAIN, REST = "train.json", "rest.json"
"""The labelled images, and the others without their labels."""


def draw(train: Path, share: float, seed: int = 0) -> list[str]:
    """File names of a share of the images of a file in COCO's format, in the order of the file.

    Raises:
        ValueError: A class is in none of them.
    """
    content = json.loads(train.read_text())
    images = content["images"]
    chosen = set(random.Random(seed).sample(range(len(images)), round(share * len(images))))
    names = [image["file_name"] for number, image in enumerate(images) if number in chosen]
    few, _ = split(content, names)
    lacking = {c["id"] for c in content["categories"]} - {box["category_id"] for box in few["annotations"]}
    if lacking:
        raise ValueError(f"seed {seed} draws no object of the categories {sorted(lacking)}: draw by another seed")
    return names


def split(content: dict, labelled: Sequence[str]) -> tuple[dict, dict]:
    """An annotation file as one of the labelled images, and one of the others, without annotations.

    Raises:
        ValueError: A labelled image is not in the file.
    """
    if strangers := set(labelled) - {image["file_name"] for image in content["images"]}:
        raise ValueError(f"{len(strangers)} labelled images are not in the file, such as {min(strangers)!r}")
    sides = []
    for wanted in (True, False):
        images = [image for image in content["images"] if (image["file_name"] in set(labelled)) == wanted]
        ids = {image["id"] for image in images}
        boxes = [box for box in content["annotations"] if wanted and box["image_id"] in ids]
        sides.append({**content, "images": images, "annotations": boxes})
    return sides[0], sides[1]


def build(root: Path, source: Path, labelled: Sequence[str]) -> str:
    """Write a folder like `source`, whose files it links, with a train split of the labelled images alone.

    Raises:
        ValueError: There is not one `train.json` in the source.
    """
    files = [file for file in source.rglob(TRAIN) if file.is_file()]
    if len(files) != 1:
        raise ValueError(f"{str(source)!r} has {len(files)} files {TRAIN}, expected one")
    (train,) = files
    few, rest = split(json.loads(train.read_text()), labelled)
    place = root / train.parent.relative_to(source)
    place.mkdir(parents=True, exist_ok=True)
    for folder in {source, train.parent}:
        for entry in folder.iterdir():
            link = root / entry.relative_to(source)
            if entry not in (train, train.parent) and not link.exists():
                link.symlink_to(os.path.abspath(entry))
    for name, content in ((TRAIN, few), (REST, rest)):
        (place / name).write_text(json.dumps(content))
    return f"{len(few['images'])} labelled images and {len(rest['images'])} others are in {root}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder that the command line names."""
    parser = make_parser("research.data.few", __doc__)
    parser.add_argument("--of", type=Path, required=True, help="folder of the whole data set")
    parser.add_argument("--labelled", type=Path, required=True, help="list of the labelled images, one a line")

    def write(options: Namespace) -> str:
        return build(Path(options.root), options.of, options.labelled.read_text().split())

    run(parser, arguments, write)


if __name__ == "__main__":
    main()
