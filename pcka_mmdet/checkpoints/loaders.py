"""MMEngine's loaders of checkpoints, for whole files alone, and for `torchvision://NAME` without torchvision.

Each replaces the registered loader of its scheme, so that all that MMEngine reads (`load_from`, a checkpoint to resume,
initial weights) is checked. torchvision is needed only for the list of URLs, and MMEngine ships such a list itself;
PyPI's torchvision imports with some builds of torch only, so it is not a requirement of ours.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mmengine
import torch
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models
from mmengine.runner.checkpoint import load_from_http as mmengine_load_from_http
from mmengine.runner.checkpoint import load_from_local as mmengine_load_from_local

from .file_kind import Trouble, trouble_of_file

SCHEME = "torchvision://"


class NoCheckpointError(ValueError):
    """A file that is damaged, or is no checkpoint of torch."""

    def __init__(self, file: str, trouble: Trouble):
        super().__init__(f"{file!r} cannot be read as a checkpoint: it is {trouble.what}; {trouble.advice}")


@CheckpointLoader.register_scheme(prefixes="", force=True)
def load_from_local(filename: str, map_location: Any = None) -> Any:
    """MMEngine's loader of local files (`load_from`, resuming, initial weights), for whole checkpoints alone.

    Raises:
        FileNotFoundError: There is no such file.
        NoCheckpointError: It is damaged, or another kind of file.
    """
    _refuse_trouble(Path(filename).expanduser())
    return mmengine_load_from_local(filename, map_location=map_location)


@CheckpointLoader.register_scheme(prefixes=("http://", "https://"), force=True)
def load_from_http(filename: str, map_location: Any = None, **options: Any) -> Any:
    """MMEngine's loader of downloads, likewise; it reads a file again that was downloaded before.

    Raises:
        NoCheckpointError: The downloaded file is damaged, or no checkpoint.
        urllib.error.URLError: It cannot be downloaded.
    """
    path = downloaded_file(filename)
    if was_there := path.is_file():
        _refuse_trouble(path)
    content = mmengine_load_from_http(filename, map_location=map_location, **options)
    if not was_there:
        _refuse_trouble(path)
    return content


def downloaded_file(url: str) -> Path:
    """Where MMEngine leaves a download."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)


def _refuse_trouble(path: Path) -> None:
    if path.is_file() and (trouble := trouble_of_file(path)):
        raise NoCheckpointError(str(path), trouble)


def weights_url(path: str) -> str | None:
    """The URL of the weights that `torchvision://NAME` stands for.

    Returns:
        `None` if the name is not known. Without torchvision, the names of its release 0.12 are known (`resnet50`).
    """
    try:
        urls = get_torchvision_models()
    except (ImportError, RuntimeError, OSError):  # not installed, or built for another torch
        urls = json.loads(Path(mmengine.__path__[0], "hub", "torchvision_0.12.json").read_text())
    return urls.get(path.removeprefix(SCHEME))


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_from_torchvision(filename: str, map_location: Any = None) -> dict:
    """MMEngine's loader of that name, without torchvision.

    Raises:
        ValueError: The name is not known.
        urllib.error.URLError: It cannot be downloaded.
    """
    url = weights_url(filename)
    if url is None:
        raise ValueError(f"no URL is known for {filename!r}: install the torchvision that has it, or give a file")
    return load_from_http(url, map_location=map_location)
