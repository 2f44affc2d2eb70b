"""The commands of README.md, one after another, as they stand there."""

import re
import subprocess
import sys

import pytest

from tests.integration.conftest import write_pair
from tests.pages import blocks, split


def commands(page: str) -> list[list[str]]:
    """The words of the commands of `pcka-mmdet`."""
    found = [words for words in split("".join(blocks(page, "bash"))) if words[0] == "pcka-mmdet"]
    assert len(found) == 5
    return found


@pytest.mark.full  # five processes, each of which imports everything
def test_the_quick_start(digit_scenes, tmp_path):
    write_pair(tmp_path, digit_scenes)
    said = []
    for _, *words in commands("README.md"):
        run = [sys.executable, "-m", "pcka_mmdet", *words]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == (2 if "--check-teacher" in words else 0), done.stdout[-2000:] + done.stderr[-2000:]
        said.append(done.stdout)
    assert re.search(r"bbox_mAP on all \d+ validation images is 0.000, below 0.05", said[2])  # it is untrained
    page = tmp_path / "work_dirs/distilled/report.html"
    assert page.read_text().startswith("<!doctype html>")
    assert (tmp_path / "work_dirs/distilled/student_epoch_1.pth").is_file()


def test_the_chinese_page_has_the_same_commands():
    assert commands("README_zh-CN.md") == commands("README.md")
