"""The sentence that an exception is for a user."""

import difflib
import inspect
import json
import re
import traceback
from collections.abc import Iterator
from typing import Any

from torch import nn

SENTENCES = (ValueError, OSError, FloatingPointError, ImportError)
"""Exceptions whose message is shown without their name: what we raise ourselves, files, and missing packages."""


IMAGES = (
    ": check data_root and data_prefix of the data loader. pcka-mmdet doctor CONFIG counts the images that are missing"
)


def sentence(error: Exception) -> str:
    """What an exception says, without its traceback: the file of broken JSON, the closest name to a misspelt one."""
    if isinstance(error, json.JSONDecodeError):
        names = [value.name for value in _locals(error) if hasattr(value, "read") and hasattr(value, "name")]
        file = repr(str(names[-1])) if names else "a file"
        return f"{file} is no valid JSON: {error}. Make or copy it again"
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Original Traceback" in message:  # of a process that loads data
        message = message.strip().splitlines()[-1]
        if message.startswith("cv2.error"):
            message += (
                ". pcka-mmdet doctor CONFIG names image files that are missing or empty. To see which other image it "
                "is, set num_workers=0 and persistent_workers=False in the data loader"
            )
        elif message.startswith("FileNotFoundError"):
            message += IMAGES
    elif isinstance(error, FileNotFoundError) and _reads_images(error):
        message += IMAGES
    elif type(error).__module__ == "cv2":
        names = [value for value in _locals(error, "filename") if isinstance(value, str)]  # in mmcv's LoadImageFromFile
        return f"the image {names[-1]!r} cannot be read: {message.strip()}" if names else message.strip()
    elif not isinstance(error, SENTENCES):
        message = f"{type(error).__name__}: {message}"
    return message + _closest_argument(error)


def _reads_images(error: Exception) -> bool:
    """Whether an exception arose in a transform that loads images."""
    return any(frame.f_code.co_filename.endswith("loading.py") for frame, _ in traceback.walk_tb(error.__traceback__))


def _closest_argument(error: Exception) -> str:
    """Advice for a config with an argument that its type does not have; empty for any other error."""
    found = re.search(r"(?:(\w+)\.)?(\w+)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not isinstance(error, TypeError) or not found:
        return ""
    kind, method, given = found.groups()
    names = [
        name
        for base in _class_of_that_name(error, kind)
        if method in vars(base)
        for name in inspect.signature(vars(base)[method]).parameters
    ]
    names = [name for name in dict.fromkeys(names) if name not in ("self", "args", "kwargs", "options")]
    close = difflib.get_close_matches(given, names, n=1)
    if close:
        return f". Did you mean {close[0]}?"
    return f". It takes {', '.join(names)}" if names else ""


def _class_of_that_name(error: Exception, name: str | None) -> tuple[type, ...]:
    """The class of that name and its bases; empty if it is not found.

    It is looked for on the stack: a variable, the type of a variable or of a module's child, or a base class of them.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        values = [*frame.f_locals.values(), *frame.f_globals.values()]
        parts = [vars(value).get("_modules") or {} for value in values if isinstance(value, nn.Module)]
        values += [part for found in parts for part in found.values()]
        for kind in (value if inspect.isclass(value) else type(value) for value in values):
            for base in kind.__mro__:
                if base.__name__ == name:
                    return base.__mro__
    return ()


def _locals(error: Exception, name: str | None = None) -> Iterator[Any]:
    """Values of the local variables, or of those of one name, from where an exception was caught to where it arose."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for key, value in frame.f_locals.items():
            if name in (None, key):
                yield value
