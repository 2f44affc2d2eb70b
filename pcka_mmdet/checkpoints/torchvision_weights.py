"""Load weights named `torchvision://NAME`, also without torchvision.

MMEngine needs torchvision only for the list of URLs, and ships such a list itself. PyPI's torchvision imports with some
builds of torch only, so it is not a requirement of ours.
"""

import json
from pathlib import Path
from typing import Any

import mmengine
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models, load_from_http

SCHEME = "torchvision://"


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
