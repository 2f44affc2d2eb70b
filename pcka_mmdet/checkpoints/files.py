"""Read checkpoint files: MMEngine's loaders for whole files only, the weights in a file, and its sha256.

Each loader replaces MMEngine's of the same scheme, so that all that MMEngine reads (`load_from`, a checkpoint to
resume, initial weights) is checked. `torchvision://NAME` needs torchvision for its list of URLs only, and MMEngine
ships one: PyPI's torchvision imports with some builds of torch only, so we do not require it.
"""

import contextlib
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mmengine
import torch
from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from pcka_mmdet.compat.safe_globals import loads_safely

from .file_kind import AGAIN, trouble_of_file

SCHEME = "torchvision://"

FORCE, FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""torch's environment variables."""

_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.pth$")


class NoCheckpointError(ValueError):
    """A file that is damaged, or is no checkpoint of torch."""


@CheckpointLoader.register_scheme(prefixes="", force=True)
def _load_from_local(filename: str, map_location: Any = None) -> Any:
    _refuse_trouble(Path(filename).expanduser())
    return mmengine_checkpoint.load_from_local(filename, map_location=map_location)


@CheckpointLoader.register_scheme(prefixes=("http://", "https://"), force=True)
def _load_from_http(filename: str, map_location: Any = None, **options: Any) -> Any:
    path = _downloaded_file(filename)
    if was_there := path.is_file():
        _refuse_trouble(path)
    content = mmengine_checkpoint.load_from_http(filename, map_location=map_location, **options)
    if not was_there:
        _refuse_trouble(path)
    return content


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def _load_from_torchvision(filename: str, map_location: Any = None) -> Any:
    return _load_from_http(weights_url(filename), map_location=map_location)


def weights_url(path: str) -> str:
    """The URL of the weights that `torchvision://NAME` stands for; a ValueError refuses an unknown name.

    Without torchvision, the names of its release 0.12 are known (`resnet50`).
    """
    try:
        urls = mmengine_checkpoint.get_torchvision_models()
    except (ImportError, RuntimeError, OSError):  # not installed, or built for another torch
        urls = json.loads(Path(mmengine.__path__[0], "hub", "torchvision_0.12.json").read_text())
    if path.removeprefix(SCHEME) not in urls:
        raise ValueError(f"no URL is known for {path!r}: install the torchvision that has it, or give a file")
    return urls[path.removeprefix(SCHEME)]


def _downloaded_file(url: str) -> Path:
    """Where MMEngine leaves a download."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)


def _refuse_trouble(path: Path) -> None:
    if path.is_file() and (trouble := trouble_of_file(path)):
        raise NoCheckpointError(f"{str(path)!r} cannot be read as a checkpoint: it is {trouble.what}; {trouble.advice}")


def load_file(checkpoint: str, option: str = "checkpoint") -> Any:
    """Load a checkpoint on the CPU with torch's safe loader.

    Args:
        checkpoint: File or URL that MMEngine can read.
        option: The option that named it, for the messages.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is a folder, is damaged, or holds types that neither are arrays nor written by MMEngine.
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
            + ("download it elsewhere and give the file" if "://" in checkpoint else AGAIN)
        ) from error


def _reason(error: Exception) -> str:
    """An error in a line, without torch's advice to load by its unsafe loader."""
    refusal = re.search(r"WeightsUnpickler error:\s*(.+?)(?: Please use|\n|$)", str(error))
    text = refusal[1] if refusal else str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def refuse_folder(named: str, option: str) -> None:
    """Raise ValueError for a folder in place of a file, and name a checkpoint in it."""
    folder = Path(named).expanduser()
    if not named or "://" in named or not folder.is_dir():
        return
    files = sorted(folder.glob("*.pth"), key=lambda path: (path.name.startswith("student_"), path.stat().st_mtime))
    advice = f"give a file in it, such as {str(files[-1])!r}" if files else "it holds no .pth file: give a checkpoint"
    raise ValueError(f"{option} {named!r} is a folder: {advice}")


def is_missing(named: str) -> bool:
    """Whether a file name, with or without `~`, names no file. A URL is never missing."""
    return "://" not in named and not Path(named).expanduser().is_file()


def checked_weights(content: Any, file: str) -> dict[str, Tensor]:
    """The tensors by name in what `load_file` returns; `file` names the file, for the messages.

    Raises:
        ValueError: There are none, or values or keys are of another type.
    """
    weights = content.get("state_dict", content) if isinstance(content, Mapping) else content
    expected = "expected a `state_dict` of tensors, as MMDetection saves it"
    if not isinstance(weights, Mapping):
        raise ValueError(f"{file} holds no weights, but a {type(weights).__name__}: {expected}")
    if not weights:
        raise ValueError(f"{file} holds no weights, it is empty: {expected}")
    wrong = [
        f"{key!r} (a {type(value).__name__})"
        for key, value in weights.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if wrong:
        raise ValueError(f"{file} holds no weights: {expected}, and it has {', '.join(wrong[:4])}")
    return {key.removeprefix("module."): value for key, value in weights.items()}


def read_weights(checkpoint: str, option: str = "teacher_ckpt") -> tuple[dict[str, Tensor], str | None]:
    """Load the tensors of a checkpoint by name, and the sha256 of its file (`None` if this machine keeps no file).

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: See `load_file`; or it holds no weights, or its sha256 is not the one in the name of the download.
    """
    checkpoint = os.path.expanduser(checkpoint)  # MMEngine opens `~/teacher.pth` too
    weights = checked_weights(load_file(checkpoint, option), f"{option} {checkpoint!r}")
    return weights, _checked_sha256(checkpoint, option)


def _checked_sha256(checkpoint: str, option: str) -> str | None:
    is_download = checkpoint.startswith(("http://", "https://"))
    path = _downloaded_file(checkpoint) if is_download else Path(checkpoint)
    if not path.is_file():
        return None
    digest = file_sha256(path)
    named = _HASH_IN_NAME.search(path.name)
    is_named = named is not None and digest.startswith(named[1])
    if is_download and named and not is_named:
        raise ValueError(
            f"{option} {checkpoint!r} was downloaded to {str(path)!r}, whose sha256 begins with "
            f"{digest[: len(named[1])]}, not with {named[1]} as its name says: delete the file and start "
            "again; if the digits in its name are not a sha256, download it yourself and give the file"
        )
    if not zipfile.is_zipfile(path) and not is_named:
        print_log(
            f"{option} {str(path)!r} is in torch's format before 1.6, which has no checksums: damage would not be "
            f"seen. Its sha256 is {digest}",
            "current",
        )
    return digest


def file_sha256(path: Path) -> str:
    """The sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def safe_loading() -> Iterator[None]:
    """While the context lasts, torch takes its safe loader even where a call asks for the unsafe one, as OneDL's does.

    Our tools and functions run in it. Nothing changes where the user has set one of torch's variables, and before
    torch 2.6, whose safe loader refuses MMEngine's checkpoints.
    """
    if not loads_safely() or {FORCE, FORCE_NOT} & os.environ.keys():
        yield
        return
    os.environ[FORCE] = "1"
    try:
        yield
    finally:
        os.environ.pop(FORCE, None)
