"""Files that are there whole or not at all."""

import errno
import os

import pytest

from pcka_mmdet.checkpoints.atomic_write import atomic_write, remove_scratch


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_fails_leaves_the_old_file(call, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.pth"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.fsync" if call == "fsync" else "pathlib.Path.replace", full)
    with pytest.raises(
        OSError, match=r"a.pth' could not be written \(No space left on device\); what was there before"
    ):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.pth"]


def test_ctrl_c_leaves_no_scratch_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "student.pth", b"new")
    assert os.listdir(tmp_path) == []


def test_the_next_export_removes_what_a_killed_one_left(tmp_path):
    left, at_work = (tmp_path / f".[1].pth.{number}.part" for number in (1, 2))
    for path in (left, at_work, tmp_path / ".other.pth.1.part"):
        path.touch()
    os.utime(left, (0, 0))
    os.utime(tmp_path / ".other.pth.1.part", (0, 0))
    atomic_write(tmp_path / "[1].pth", b"new")
    assert sorted(os.listdir(tmp_path)) == [".[1].pth.2.part", ".other.pth.1.part", "[1].pth"]


def test_what_a_killed_process_began_is_removed(tmp_path):
    (tmp_path / ".epoch_1.pth.123.part").touch()
    (tmp_path / "epoch_1.pth").touch()
    remove_scratch(tmp_path)
    assert os.listdir(tmp_path) == ["epoch_1.pth"]
