"""Folders that appear only when they are complete, and replace nothing before that."""

import contextlib
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
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
        check: Refuses a folder at `root` that must not be replaced.
        write: Writes a new folder.

    Returns:
        `root` as an absolute path.
    """
    root = Path(root).expanduser().resolve()
    if is_complete(root):
        return root
    check(root)
    with scratch_folder(root) as scratch:
        write(scratch)
        if not is_complete(root):  # unless another process was faster
            put_in_place(root, scratch)
    return root


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """Yield a new path beside `root`, to fill and to give to `put_in_place`; afterwards it is deleted.

    Old scratch folders of killed processes are deleted too.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    for path in root.parent.glob(f".{root.name}.*.partial"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)
    scratch = _sibling(root)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def put_in_place(root: Path, scratch: Path) -> None:
    """Rename `scratch` to `root`. What was there is moved aside first, and deleted when the new one is in place."""
    old = _sibling(root)
    if root.exists():
        root.rename(old)
    try:
        scratch.rename(root)
    except OSError:
        if old.exists() and not root.exists():
            old.rename(root)
        raise
    shutil.rmtree(old, ignore_errors=True)


def is_missing_or_empty(root: Path) -> bool:
    """Whether a folder can be put at `root` without a loss."""
    return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def check_replaceable(root: Path, what: str, is_ours: bool, files: re.Pattern) -> None:
    """Refuse a folder that is not missing, empty, or a set of ours with no other file in it.

    Args:
        root: The folder.
        what: What it should hold.
        is_ours: Whether it holds that, complete or not, of any version.
        files: Matches the paths of that set's files and folders, relative to `root`.

    Raises:
        FileExistsError: It is a file, or holds something else.
    """
    if is_missing_or_empty(root):
        return
    advice = "nothing was changed; give a folder that does not exist yet, or remove this one yourself"
    if not root.is_dir():
        raise FileExistsError(f"{root} is a file, and the data set needs a folder; {advice}")
    if not is_ours:
        raise FileExistsError(f"{root} is not empty and is no set of {what}; {advice}")
    foreign = [name for path in root.rglob("*") if not files.fullmatch(name := path.relative_to(root).as_posix())]
    if foreign:
        raise FileExistsError(
            f"{root} holds a set of {what} with other parameters, which would be replaced, but also files that "
            f"are no part of it: {', '.join(sorted(foreign)[:5])}; {advice}"
        )


def _sibling(root: Path) -> Path:
    """A new path beside `root`: in the same file system, where renaming is atomic."""
    return root.with_name(f".{root.name}.{uuid.uuid4().hex[:8]}.partial")
