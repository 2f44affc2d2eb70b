"""The repository's tools as commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def last_log(work_dir: Path) -> str:
    """The log of the newest run in a work directory."""
    return max(work_dir.glob("*/*.log")).read_text()


def tiny_demo(digit_scenes: Path, epochs: int = 1) -> list[str]:
    """Settings that make the demo's distillation small and find the tiny set."""
    splits = ("train", "val", "test")
    return [
        "--cfg-options",
        "model.teacher_ckpt=random",
        "model.architecture.test_cfg.score_thr=0.0",  # there is something to evaluate even so early
        f"train_cfg.max_epochs={epochs}",
        "train_cfg.val_interval=1",
        "train_dataloader.batch_size=4",
        "test_dataloader.batch_size=1",
        "default_hooks.logger.interval=1",
        *(f"{split}_dataloader.dataset.data_root={digit_scenes}/" for split in splits),
        *(f"{split}_evaluator.ann_file={digit_scenes}/annotations/{split}.json" for split in ("val", "test")),
    ]


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess]:
    """Run a tool of the repository as a user does, with one thread; its output is captured."""

    def run(*words: str | Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        first = [sys.executable, *words] if str(words[0]).endswith(".py") else ["bash", *words]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [str(word) for word in first],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    return run
