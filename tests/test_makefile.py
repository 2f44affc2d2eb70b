"""The commands that the Makefile would run."""

import os
import shlex
import subprocess

import yaml

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


def test_the_stack_is_that_of_the_environment(tmp_path):
    (tmp_path / "stamps").mkdir()
    (tmp_path / "stamps/requirements").write_text("onedl\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "STACK")}
    options = dict(cwd=ROOT, env=environment, capture_output=True, text=True)
    words = ["make", "--no-print-directory", "--dry-run", f"VENV={tmp_path}", "install"]
    done = subprocess.run(words, **options, check=True)
    assert "requirements/onedl.txt" in done.stdout and "onedl-mmcv==" in done.stdout
    done = subprocess.run([*words, "STACK=openmmlab"], **options)
    assert done.returncode == 2
    assert "was made with STACK=onedl, not openmmlab: name another folder, such as VENV=.venv-openmmlab" in done.stderr


def test_lint_and_the_hook_of_commits():
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "lint"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    commands = [line.removeprefix(".venv/bin/") for line in done.stdout.splitlines()]
    assert commands[-3:] == ["ruff check", "ruff format --check", "python -m mypy"]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == ["make --silent lint"]
