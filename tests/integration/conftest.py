"""The repository's tools as commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
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
