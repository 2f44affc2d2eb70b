"""Atomic writes of local files."""

import contextlib
import glob
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

ABANDONED = 600
"""Seconds after which a scratch file that did not change was left by a killed process."""


def atomic_write(path: Path, content: bytes) -> None:
    """Write a scratch file, flush it to the disk, and rename it. Scratch files that killed processes left are removed.

    Raises:
        OSError: It could not be written; the file that was at `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        raise OSError(
            error.errno, f"{str(path)!r} could not be written ({error.strerror}); what was there before still is"
        ) from error
    finally:  # also after Ctrl-C
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def atomic_save(content: Any, path: Path) -> None:
    """Do what `torch.save` does, atomically; see `atomic_write`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    atomic_write(path, (json.dumps(content, indent=2) + "\n").encode())


def remove_scratch(folder: Path) -> None:
    """Remove the scratch files of killed processes."""
    for scratch in folder.glob(".*.part"):
        scratch.unlink(missing_ok=True)
