"""The product's suite passes in a copy of the repository without research/."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.processes import ROOT


@pytest.mark.full
def test_the_suite_passes_without_research(tmp_path):
    left_out = shutil.ignore_patterns(
        "research", ".git", ".venv*", "work_dirs", "data", "site", "build", ".mim", "__pycache__"
    )
    copy = shutil.copytree(ROOT, tmp_path / "copy", ignore=left_out)
    shutil.copytree(ROOT / "tests" / "data", copy / "tests" / "data", dirs_exist_ok=True)
    words = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
