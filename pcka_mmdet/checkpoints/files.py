"""Read the weights of a checkpoint file, and compute its sha256."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from pcka_mmdet.compat.safe_globals import loads_safely

from .file_kind import has_no_checksums
from .loaders import NoCheckpointError, downloaded_file

_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.pth$")


def load_file(checkpoint: str, option: str = "checkpoint") -> Any:
    """Load a checkpoint on the CPU with torch's safe loader.

    Args:
        checkpoint: File or URL that MMEngine can read.
        option: The option that named it, for the messages.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is a folder, is damaged, or holds other types than arrays and those that MMEngine writes.
    """
    refuse_folder(checkpoint, option)
    try:
        with safe_loading():
            return CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{option} {checkpoint!r} does not exist: give a file or a URL") from error
    except NoCheckpointError as error:
        raise ValueError(f"{option} {error}") from error
    except Exception as error:  # torch, pickle, zipfile and the network raise different errors
        raise ValueError(
            f"{option} {checkpoint!r} cannot be read as a checkpoint ({_reason(error)}): "
            + ("download it elsewhere and give the file" if "://" in checkpoint else "copy or download it again")
        ) from error


def refuse_folder(named: str, option: str) -> None:
    """Refuse a folder in place of a file, and name a checkpoint in it.

    Raises:
        ValueError: It is a folder.
    """
    folder = Path(named).expanduser()
    if not named or "://" in named or not folder.is_dir():
        return
    files = sorted(folder.glob("*.pth"), key=lambda path: (path.name.startswith("student_"), path.stat().st_mtime))
    advice = f"give a file in it, such as {str(files[-1])!r}" if files else "it holds no .pth file: give a checkpoint"
    raise ValueError(f"{option} {named!r} is a folder: {advice}")


def _reason(error: Exception) -> str:
    """Kind of an error and what it says, in a line, without torch's advice to load by its unsafe loader."""
    text = str(error)
    found = re.search(r"WeightsUnpickler error:\s*(.+?)(?: Please use|\n|$)", text)
    said = found[1] if found else text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def checked_weights(content: Any, file: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Args:
        content: What `load_file` returns.
        file: What names the file, for the messages.

    Raises:
        ValueError: There are none, or values or keys are of another type.
    """
    weights = content.get("state_dict", content) if isinstance(content, Mapping) else None
    expected = "expected a `state_dict` of tensors, as MMDetection saves it"
    if not isinstance(weights, Mapping):
        raise ValueError(
            f"{file} holds no weights, but a {type(content if weights is None else weights).__name__}: {expected}"
        )
    if not weights:
        raise ValueError(f"{file} holds no weights, it is empty: {expected}")
    wrong = [key for key, value in weights.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if wrong:
        found = ", ".join(f"{key!r} (a {type(weights[key]).__name__})" for key in wrong[:4])
        raise ValueError(f"{file} holds no weights: {expected}, and it has {found}")
    return {key.removeprefix("module."): value for key, value in weights.items()}


def read_weights(checkpoint: str, option: str = "teacher_ckpt") -> tuple[dict[str, Tensor], str | None]:
    """The tensors of a checkpoint by name, and the sha256 of its file (`None` if this machine keeps no file).

    Args:
        checkpoint: See `load_file`.
        option: See `load_file`.

    Raises:
        FileNotFoundError: See `load_file`.
        ValueError: See `load_file`; or it holds no weights, or its sha256 is not the one in the name of the download.
    """
    checkpoint = os.path.expanduser(checkpoint)  # MMEngine opens `~/teacher.pth` too
    weights = checked_weights(load_file(checkpoint, option), f"{option} {checkpoint!r}")
    return weights, _checked_sha256(checkpoint, option)


def is_missing(named: str) -> bool:
    """Whether a file name, with or without `~`, names no file. A URL is never missing."""
    return "://" not in named and not Path(named).expanduser().is_file()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _checked_sha256(checkpoint: str, option: str) -> str | None:
    downloaded = checkpoint.startswith(("http://", "https://"))
    path = downloaded_file(checkpoint) if downloaded else Path(checkpoint)
    if not path.is_file():
        return None
    digest = file_sha256(path)
    named = _HASH_IN_NAME.search(path.name)
    if downloaded and named and not digest.startswith(named[1]):
        raise ValueError(
            f"{option} {checkpoint!r} was downloaded to {str(path)!r}, whose sha256 begins with "
            f"{digest[: len(named[1])]}, not with {named[1]} as its name says: delete the file and start "
            "again; if the digits in its name are not a sha256, download it yourself and give the file"
        )
    if has_no_checksums(path) and not (named and digest.startswith(named[1])):
        print_log(
            f"{option} {str(path)!r} is in torch's format before 1.6, which has no checksums: damage would not be "
            f"seen. Its sha256 is {digest}",
            "current",
        )
    return digest


FORCE, FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""torch's environment variables."""


@contextlib.contextmanager
def safe_loading() -> Iterator[None]:
    """While the context lasts, torch takes its safe loader even where a call asks for the other one, as OneDL's does.

    Our tools and functions run in it; a program of the user's own is left as it is. Nothing changes where the user has
    set one of the variables, and before torch 2.6, whose safe loader refuses MMEngine's checkpoints.
    """
    if not loads_safely() or {FORCE, FORCE_NOT} & os.environ.keys():
        yield
        return
    os.environ[FORCE] = "1"
    try:
        yield
    finally:
        os.environ.pop(FORCE, None)
