"""What a user is told: the sentence of an exception, and warnings."""

import difflib
import inspect
import json
import logging
import re
import traceback
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

SENTENCES = (ValueError, OSError, FloatingPointError, ImportError)
"""Exceptions whose message is shown without their name: what we raise ourselves, files, and missing packages."""

CHECK_IMAGES = (
    ": check data_root and data_prefix of the data loader. pcka-mmdet doctor CONFIG counts the images that are missing"
)


def sentence(error: Exception) -> str:
    """The message of an exception, with the file of broken JSON, and the closest name to a misspelt argument."""
    if isinstance(error, json.JSONDecodeError):
        names = [value.name for value in _locals(error).values() if hasattr(value, "read") and hasattr(value, "name")]
        file = repr(str(names[-1])) if names else "a file"
        return f"{file} is no valid JSON: {error}. Make or copy it again"
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Original Traceback" in message:  # of a process that loads data
        message = message.strip().splitlines()[-1]
        if message.startswith("cv2.error"):
            message += (
                ". pcka-mmdet doctor CONFIG names image files that are missing or damaged. To see the image, set "
                "num_workers=0 and persistent_workers=False in the data loader"
            )
        return message + CHECK_IMAGES if message.startswith("FileNotFoundError") else message
    if type(error).__module__ == "cv2":
        image = _locals(error).get("filename")  # in mmcv's LoadImageFromFile
        return f"the image {image!r} cannot be read: {message.strip()}" if image else message.strip()
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, FileNotFoundError) and any(file.endswith("loading.py") for file in frames):
        return message + CHECK_IMAGES  # in a transform that loads images
    if isinstance(error, SENTENCES):
        return message
    return f"{type(error).__name__}: {message}{_closest_argument(error)}"


def _closest_argument(error: Exception) -> str:
    """Advice for a config with an argument that its type does not have; empty for another error."""
    match = re.search(r"(?:(\w+)\.)?(\w+)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not isinstance(error, TypeError) or not match:
        return ""
    kind, method, given = match.groups()
    names: list[str] = []
    for base in _class_of_that_name(error, kind):
        if method in vars(base):
            names += inspect.signature(vars(base)[method]).parameters
    names = [name for name in dict.fromkeys(names) if name not in ("self", "args", "kwargs", "options")]
    if close := difflib.get_close_matches(given, names, n=1):
        return f". Did you mean {close[0]}?"
    return f". It takes {', '.join(names)}" if names else ""


def _class_of_that_name(error: Exception, name: str | None) -> tuple[type, ...]:
    """The class of that name and its bases, among the variables on the stack, their types and the bases of these."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            for base in (value if inspect.isclass(value) else type(value)).__mro__:
                if base.__name__ == name:
                    return base.__mro__
    return ()


def _locals(error: Exception) -> dict[str, Any]:
    """Local variables from where an exception was caught to where it arose; the innermost of a name counts."""
    variables: dict[str, Any] = {}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        variables |= frame.f_locals
    return variables


def listed(names: Sequence[str]) -> str:
    """The first five names."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def warn(text: str) -> None:
    """Log a warning by MMEngine's current logger."""
    print_log(text, "current", level=logging.WARNING)
