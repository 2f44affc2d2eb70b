"""The commands that the Makefile would run."""

import shlex
import subprocess

from tests.processes import ROOT


def test_folders_and_files_with_blanks_reach_the_demo_whole():
    words = ["make", "--no-print-directory", "--dry-run", "demo-bccd", "DATA=my data", "WEIGHTS=my weights.pth"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    command = shlex.split(done.stdout[done.stdout.index("tools/demo.py") :].replace("\\\n", ""))
    assert command[command.index("--data-root") + 1] == "my data"
    assert command[-1] == "model.backbone.init_cfg.checkpoint=my weights.pth"


def test_another_torch_than_the_environments_is_refused():
    words = ["make", "--no-print-directory", "--dry-run", "TORCH=torch==1.0"]
    for target in ("install", "demo"):
        done = subprocess.run([*words, target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert "run 'make clean' first" in done.stdout
