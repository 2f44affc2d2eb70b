"""The commands of docs/index.md, one after another, as they stand there."""

import re
import shlex
import subprocess
import sys

import pytest

from tests.integration.conftest import write_pair
from tests.processes import ROOT


@pytest.mark.full  # five processes, each of which imports everything
def test_the_quick_start(digit_scenes, tmp_path):
    write_pair(tmp_path, digit_scenes)
    (block,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), flags=re.DOTALL)
    said = []
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "pcka-mmdet"
        run = [sys.executable, "-m", "pcka_mmdet", *words]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == (2 if "--check-teacher" in words else 0), done.stdout[-2000:] + done.stderr[-2000:]
        said.append(done.stdout)
    assert "bbox_mAP on all validation images is 0.000, below 0.05" in said[2]  # it is untrained
    page = tmp_path / "work_dirs/both-heads_teacher_student/report.html"
    assert page.read_text().startswith("<!doctype html>")
    assert (tmp_path / "work_dirs/both-heads_teacher_student/student_epoch_1.pth").is_file()
