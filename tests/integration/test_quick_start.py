"""The commands of docs/index.md, one after another, as they stand there. README.md has some of them."""

import re
import subprocess
import sys

import pytest

from tests.integration.conftest import write_pair
from tests.pages import blocks, split


@pytest.mark.full  # five processes, each of which imports everything
def test_the_quick_start(digit_scenes, tmp_path):
    write_pair(tmp_path, digit_scenes)
    said = []
    for program, *words in split(*blocks("docs/index.md", "bash")):
        assert program == "pcka-mmdet"
        run = [sys.executable, "-m", "pcka_mmdet", *words]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == (2 if "--check-teacher" in words else 0), done.stdout[-2000:] + done.stderr[-2000:]
        said.append(done.stdout)
    assert re.search(r"bbox_mAP on all \d+ validation images is 0.000, below 0.05", said[2])  # it is untrained
    page = tmp_path / "work_dirs/distilled/report.html"
    assert page.read_text().startswith("<!doctype html>")
    assert (tmp_path / "work_dirs/distilled/student_epoch_1.pth").is_file()


@pytest.mark.parametrize("page", ["README.md", "README_zh-CN.md"])
def test_the_commands_of_the_readme_are_among_them(page):
    shown = [block for block in blocks(page, "bash") if "pcka-mmdet" in block]
    assert len(shown) == 2
    quick_start = split(*blocks("docs/index.md", "bash"))
    assert [words for words in split("".join(shown)) if words not in [*quick_start, ["pip", "install", "."]]] == []
