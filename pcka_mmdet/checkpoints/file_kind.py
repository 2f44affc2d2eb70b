"""Say what a file is that is no whole checkpoint of torch, and what to do with it. Nothing is unpickled."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple


class Trouble(NamedTuple):
    """Why a file cannot be read as a checkpoint, and what to do."""

    what: str  # after "it is"
    advice: str


AGAIN = "copy or download it again"
EXPECTED = "give a checkpoint that MMDetection has written (epoch_N.pth or best_*.pth of a training)"
DETECTIONS = (
    "to learn from a model of another framework, give its detections to `pcka-mmdet pseudo-label --results FILE`"
)

PAGE = Trouble("a web page", "the download led to a page, such as a login: download the file itself")
BEGINNINGS = {
    b"version https://git-lfs": Trouble("a pointer of Git LFS, not the file itself", "fetch that with `git lfs pull`"),
    b"\x89HDF": Trouble("an HDF5 file, as Keras writes", f"the format and the model differ; {DETECTIONS}"),
    b"\x1f\x8b": Trouble("compressed by gzip", "unpack it, and give the .pth file in it"),
    b"<!doctype html": PAGE,
    b"<html": PAGE,
}
"""Kinds of files by their first bytes, in lower case."""

ULTRALYTICS = Trouble(
    "a model of Ultralytics, pickled with classes of that package",
    f"MMDetection has no such model, and its weights fit none; {DETECTIONS}",
)
ONNX = Trouble(
    "an ONNX graph, for inference",
    f"it has no weights by the names of a detector: give the .pth file it was made from; {DETECTIONS}",
)
SAFETENSORS = Trouble(
    "a safetensors file",
    "convert it: from safetensors.torch import load_file; torch.save({'state_dict': load_file(FILE)}, 'weights.pth'). "
    "It serves if its keys are those of MMDetection's detector (backbone.*, neck.*, bbox_head.*)",
)


def trouble_of_file(path: Path) -> Trouble | None:
    """What is wrong with a file; `None` for a whole file that torch may have written.

    A file of `torch.save` is a zip archive, whose checksums are compared. One in the format before torch 1.6 has none.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return Trouble("an empty file", AGAIN)
    for beginning, trouble in BEGINNINGS.items():
        if head.lower().startswith(beginning.lower()):
            return trouble
    if head.startswith(b"PK"):
        return _trouble_of_archive(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return SAFETENSORS
    if path.suffix == ".onnx" or re.match(rb"\x08[\x01-\x20]\x12.[\w.-]+", head, re.DOTALL):
        return ONNX
    if re.match(rb"\s*[\[{]", head):
        return Trouble("a JSON file, such as annotations or detections", f"{EXPECTED}; {DETECTIONS}")
    if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head):
        return Trouble("a text file", EXPECTED)
    return None


def _trouble_of_archive(path: Path) -> Trouble | None:
    """What is wrong with a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if archive.testzip() is not None:
                return Trouble("damaged: a checksum is wrong", AGAIN)
            if any(name.endswith("/constants.pkl") for name in names):
                advice = f"give the .pth file of the training that it was made from; {DETECTIONS}"
                return Trouble("a TorchScript model, for inference", advice)
            pickles = [name for name in names if name.endswith("/data.pkl")]
            if not pickles:
                return Trouble("a zip archive that torch has not written", f"unpack it, or {EXPECTED}")
            pickled = archive.read(pickles[0])
            if b"ultralytics" in pickled or b"cmodels.yolo" in pickled:
                return ULTRALYTICS
            # torch writes no folders; where a damaged attribute marks an entry as one, torch reads no array
            if any(record.external_attr for record in archive.infolist()):
                return Trouble("damaged: an entry of its directory is wrong", AGAIN)
    except Exception:  # zipfile raises many kinds of errors for damaged lengths, names or flags
        return Trouble("damaged: cut off, or changed", AGAIN)
    return None
