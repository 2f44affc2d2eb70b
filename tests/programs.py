"""The repository's tools as commands, for tests that run them as a user does."""

import functools
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mmengine.config.config
import mmengine.config.utils
import pytest
import torch
import yapf.yapflib.yapf_api

from pcka_mmdet.configuration.installed import releases

ROOT = Path(__file__).resolve().parents[1]

# Importing PyTorch and MMDetection takes longer than most commands, so a server does it once and forks.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("pcka_mmdet", "mmrazor.models", "mmrazor.engine", "mmdet.apis", "mmdet.engine", "mmdet.visualization"),
        *("torch._dynamo", "setuptools", __name__),  # an optimizer imports the first, MMEngine's log the second
    ]
)
releases()  # reads the metadata of all packages, for the log of each command


def unformatted(text: str, **style: object) -> tuple[str, bool]:
    """In place of yapf, which MMEngine formats configs with for a reader."""
    return text, True


QUICKER = [
    *((module, "FormatCode", unformatted) for module in (mmengine.config.config, yapf.yapflib.yapf_api)),
    (mmengine.config.utils, "_get_cfg_metainfo", functools.cache(mmengine.config.utils._get_cfg_metainfo)),
]
"""Functions that take longer than most tests, where MMEngine and its OneDL fork look them up: the formatter, and the
reader of all metafiles of MMDetection for each config that names one of its configs."""


def run_tool(words: list[str], environment: dict[str, str], output: list[Path], folder: Path) -> None:
    """Become the command: in a process that has imported the packages already."""
    gc.freeze()  # MMEngine collects garbage for each data set: what is imported is none
    for descriptor, path in enumerate(output, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))  # torch read the server's when it was imported
    sys.argv = words
    for module, name, function in QUICKER:
        setattr(module, name, function)
    if words[0] == "-m":
        sys.argv, sys.path[0] = words[1:], str(ROOT)
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    tool = str(ROOT / words[0])
    sys.path[0] = tool.rpartition("/")[0]
    runpy.run_path(tool, run_name="__main__")


class ForkedProgram:
    """A stand-in for `subprocess.Popen` of this Python that forks from `SERVER`, which has imported the packages.

    Args:
        words: The interpreter, `-m`, a module and its arguments.
        output: Files of stdout and stderr.
        cwd: The folder that it runs in.
        environment: Its environment.
    """

    def __init__(self, words: list[str], output: list[Path], cwd: Path = ROOT, environment: dict | None = None):
        self._words = list(map(str, words))
        arguments = (self._words[1:], dict(environment or os.environ), output, cwd)
        self._process = SERVER.Process(target=run_tool, args=arguments)
        self._process.start()

    def __enter__(self) -> "ForkedProgram":
        return self

    def __exit__(self, *_) -> None:
        self.wait()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired(self._words, timeout)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)


@pytest.fixture(scope="session")
def command(tmp_path_factory) -> Callable[..., subprocess.CompletedProcess]:
    """Run a tool of the repository, or `-m` and a module, as a user does, in its folder or `cwd`, with one thread; its
    output is captured."""

    def run_forked(words: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess:
        folder = tmp_path_factory.mktemp("output")
        output = [folder / "stdout", folder / "stderr"]
        with ForkedProgram([sys.executable, *words], output, cwd, environment) as program:
            try:
                program.wait(300)
            except subprocess.TimeoutExpired:
                program.kill()
        return subprocess.CompletedProcess(words, program.poll(), *(path.read_text() for path in output))

    def run(
        *words: str | Path, check: bool = True, cwd: Path = ROOT, **environment: str
    ) -> subprocess.CompletedProcess:
        words = [str(word) for word in words]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, **environment}
        if words[0] == "-m" or words[0].endswith(".py"):
            done = run_forked(words, environment, cwd)
        else:
            command = ["bash", *words]
            done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
        if check and done.returncode:
            pytest.fail(f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    return run
