"""Folders that appear only when they are complete, and replace nothing before that."""

import re
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ABANDONED = 3600.0  # seconds after which an unfinished folder belongs to a process that was killed


def write_once(
    root: str | Path,
    is_complete: Callable[[Path], bool],
    check: Callable[[Path], None],
    write: Callable[[Path], None],
) -> Path:
    """Write a folder, unless it is complete already. Raises what `check` and `write` raise.

    Args:
        root: The folder.
        is_complete: Whether a folder is complete.
        check: Raises an error if `root` must not be replaced.
        write: Writes a new folder.

    Returns:
        `root` as an absolute path.
    """
    root = Path(root).expanduser().resolve()
    if is_complete(root):
        return root
    check(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    for path in root.parent.glob(f".{root.name}.*.partial"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)
    # in the folder of `root`, since a file system renames its files atomically
    new, old = (root.with_name(f".{root.name}.{uuid.uuid4().hex[:8]}.partial") for _ in range(2))
    try:
        write(new)
        if not is_complete(root):  # another process may have been faster
            if root.exists():
                root.rename(old)
            new.rename(root)
    finally:
        if old.exists() and not root.exists():
            old.rename(root)
        for path in (new, old):
            shutil.rmtree(path, ignore_errors=True)
    return root


def is_missing_or_empty(root: Path) -> bool:
    """Whether a folder can be put at `root` without a loss."""
    return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def check_replaceable(root: Path, what: str, is_known: bool, files: re.Pattern) -> None:
    """Refuse a folder that is not missing, empty, or a set of that kind without foreign files.

    Args:
        root: The folder.
        what: What it should hold.
        is_known: Whether it holds that, complete or not, of any version.
        files: Matches the paths of that set's files and folders, relative to `root`.

    Raises:
        FileExistsError: It is a file, or holds something else.
    """
    if is_missing_or_empty(root):
        return
    advice = "nothing was changed; give a folder that does not exist yet, or remove this one yourself"
    if not root.is_dir():
        raise FileExistsError(f"{root} is a file, and the data set needs a folder; {advice}")
    if not is_known:
        raise FileExistsError(f"{root} is not empty and is no set of {what}; {advice}")
    foreign = [name for path in root.rglob("*") if not files.fullmatch(name := path.relative_to(root).as_posix())]
    if foreign:
        raise FileExistsError(
            f"{root} holds a set of {what} with other parameters, which would be replaced, but also files that "
            f"are no part of it: {', '.join(sorted(foreign)[:5])}; {advice}"
        )
