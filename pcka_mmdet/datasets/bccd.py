"""Fetch BCCD, photographs of blood cells, in COCO's format: ``python -m pcka_mmdet.datasets.bccd ROOT``.

The public data set (https://github.com/Shenggan/BCCD_Dataset, MIT licence) holds 364 photographs in PASCAL VOC's
format. Its own splits of 205, 87 and 72 photographs are kept.
"""

import argparse
import http.client
import io
import json
import sys
import time
import urllib.request
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from .folder import is_missing_or_empty, put_in_place, scratch_folder
from .splits import SPLITS

URL = "https://codeload.github.com/Shenggan/BCCD_Dataset/zip/ec96fe4104e9bb329f0d263db95cf1edd8c09909"
DESCRIPTION = "BCCD blood cells (github Shenggan/BCCD_Dataset, MIT), VOC boxes converted to COCO"
CLASSES = ("RBC", "WBC", "Platelets")
CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds without an answer


def fetch_bccd(root: str | Path, archive: str | Path = URL) -> Path:
    """Write the data set, unless it is there already.

    ``root`` then holds ``images/``, ``train.json``, ``val.json``, ``test.json`` and the data set's licence. It appears
    only when it is complete: an interrupted call leaves nothing behind.

    Args:
        root: The folder, which must be missing or empty.
        archive: The repository's zip archive: a URL, or a file that was downloaded before.

    Returns:
        ``root`` as an absolute path.

    Raises:
        FileExistsError: If ``root`` is a file, or holds anything else. Nothing is changed.
        ConnectionError: If the archive cannot be downloaded.
        ValueError: If the archive is not the data set's.
    """
    root = Path(root).expanduser().resolve()
    if _is_complete(root):
        return root
    if not is_missing_or_empty(root):
        raise FileExistsError(
            f"{root} is not empty and is no complete BCCD set; nothing was changed; give a folder that does not exist "
            "yet, or remove this one yourself"
        )
    with scratch_folder(root) as scratch:
        content = archive if Path(archive).is_file() else _download(str(archive))
        try:
            with zipfile.ZipFile(content) as opened:
                _convert(opened, scratch)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{archive} is no complete zip archive: download {URL} again") from error
        if not _is_complete(root):  # unless another process was faster
            put_in_place(root, scratch)
    return root


def _is_complete(root: Path) -> bool:
    try:
        contents = [json.loads((root / f"{split}.json").read_bytes()) for split in SPLITS]
        ours = all(content["info"]["description"] == DESCRIPTION for content in contents)
        names = [image["file_name"] for content in contents for image in content["images"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return ours and all((root / "images" / name).is_file() for name in names)


def _download(url: str) -> io.BytesIO:
    """Return the content at a URL, and print every second how much has arrived."""
    content, shown = io.BytesIO(), time.monotonic()
    _say(f"downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            size = response.headers["Content-Length"]  # absent when GitHub packs the archive on demand
            whole = f" of {int(size) / 1e6:.1f}" if size else ""
            while chunk := response.read(CHUNK):
                content.write(chunk)
                if time.monotonic() - shown >= 1:
                    shown = time.monotonic()
                    _say(f"  {content.tell() / 1e6:.1f}{whole} MB")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ConnectionError(
            f"{url!r} is no file and cannot be downloaded ({error}). Where there is no network, download {URL} on "
            "another machine and give the file by --archive FILE"
        ) from error
    return content


def _convert(archive: zipfile.ZipFile, folder: Path) -> None:
    """Write the data set from its repository's archive into a new folder."""
    marker = f"ImageSets/Main/{SPLITS[0]}.txt"
    parents = [name.removesuffix(marker) for name in archive.namelist() if name.endswith(f"/{marker}")]
    if not parents:
        raise ValueError(f"the archive holds no {marker}: expected the repository of BCCD, as at {URL}")
    parent = parents[0]
    (folder / "images").mkdir(parents=True)
    for split in SPLITS:
        names = _read(archive, f"{parent}ImageSets/Main/{split}.txt").decode().split()
        _say(f"converting {len(names)} photographs of {split}")
        content = {
            "info": {"description": DESCRIPTION},
            "images": [],
            "annotations": [],
            "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
        }
        for name in names:
            pixels = _read(archive, f"{parent}JPEGImages/{name}.jpg")
            (folder / "images" / f"{name}.jpg").write_bytes(pixels)
            width, height = Image.open(io.BytesIO(pixels)).size
            _add(content, f"{name}.jpg", width, height, _read(archive, f"{parent}Annotations/{name}.xml"))
        (folder / f"{split}.json").write_text(json.dumps(content))
    for name in archive.namelist():
        if name.count("/") == 1 and name.endswith("/LICENSE"):
            (folder / "LICENSE").write_bytes(archive.read(name))


def _add(content: dict, file_name: str, width: int, height: int, voc: bytes) -> None:
    """Append a photograph and its boxes. Ids start at 1, because pycocotools ignores a match with id 0.

    Boxes are clipped to the photograph. Empty and duplicate boxes are left out.
    """
    images, annotations = content["images"], content["annotations"]
    images.append({"id": len(images) + 1, "file_name": file_name, "width": width, "height": height})
    known = set()
    for entry in ElementTree.fromstring(voc).iter("object"):
        name = entry.findtext("name")
        if name not in CLASSES:
            raise ValueError(f"{file_name} has an object of class {name!r}; expected one of {', '.join(CLASSES)}")
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{e}")) for e in ("xmin", "ymin", "xmax", "ymax"))
        left, right = (min(max(x, 0.0), width) for x in (left, right))
        top, bottom = (min(max(y, 0.0), height) for y in (top, bottom))
        box = [left, top, right - left, bottom - top]
        if min(box[2:]) <= 0 or (name, *box) in known:
            continue
        known.add((name, *box))
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": len(images),
                "category_id": CLASSES.index(name) + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError as error:
        raise ValueError(f"the archive lacks {name}: expected the repository of BCCD, as at {URL}") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m pcka_mmdet.datasets.bccd", description=__doc__)
    parser.add_argument("root", help="folder to write; a complete one is left unchanged")
    parser.add_argument("--archive", default=URL, metavar="FILE_OR_URL", help="zip archive (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        root = fetch_bccd(options.root, options.archive)
    except (ValueError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was changed")
    print(f"BCCD is in {root}")


if __name__ == "__main__":
    main()
