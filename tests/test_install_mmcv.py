"""The script that builds mmcv once and finds it again; pip and the compiler are replaced."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.processes import ROOT

WHEEL = "mmcv-2.1.0-cp311-cp311-linux_x86_64.whl"
PIP_THAT_BUILDS = f"""
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index('-w') + 1])
folder.mkdir()
(folder / {WHEEL!r}).touch()
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module, with its cache in ``tmp_path``."""
    monkeypatch.delenv("FORCE_CUDA", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    spec = importlib.util.spec_from_file_location("install_mmcv", ROOT / "requirements" / "install_mmcv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return module


def replace_pip(script: ModuleType, monkeypatch: pytest.MonkeyPatch, build: str) -> list[list[str]]:
    """Build with the Python code ``build`` in place of pip, and return the list that will hold what is installed."""
    installed = []
    monkeypatch.setattr(script, "check_compiler", lambda: None)
    monkeypatch.setattr(script, "precompile", lambda scratch, environment: None)
    monkeypatch.setattr(script, "PIP", [sys.executable, "-c", build])
    monkeypatch.setattr(subprocess, "run", lambda command, check: installed.append(command))
    return installed


def test_the_cache_names_mmcv_torch_and_python(script: ModuleType, tmp_path: Path) -> None:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    folder = script.cache_folder("mmcv==2.1.0")
    assert folder == tmp_path / "pcka_mmdet" / f"mmcv-2.1.0_torch-{torch.__version__}_{python}"
    script.CUDA = True
    assert script.cache_folder("mmcv==2.1.0").name == f"{folder.name}_cuda"


def test_a_wheel_is_built_once(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = script.cache_folder("mmcv==2.1.0")
    installed = replace_pip(script, monkeypatch, PIP_THAT_BUILDS)
    script.main("mmcv==2.1.0")
    replace_pip(script, monkeypatch, 'raise SystemExit("built again")')
    script.main("mmcv==2.1.0")
    assert [path.name for path in folder.iterdir()] == [WHEEL]
    assert installed[0][-1] == str(folder / WHEEL)


def test_a_failed_build_leaves_its_log_alone(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_pip(script, monkeypatch, 'print("no space left"); raise SystemExit(1)')
    with pytest.raises(SystemExit, match=r"no space left(.|\n)*mmcv==2.1.0 could not be built; the whole log is in"):
        script.main("mmcv==2.1.0")
    assert [path.suffix for path in (tmp_path / "pcka_mmdet").iterdir()] == [".log"]


def test_the_gpu_is_hidden_unless_cuda_is_asked_for(script: ModuleType) -> None:
    assert script.build_environment()["CUDA_VISIBLE_DEVICES"] == ""
    script.CUDA = True
    assert "CUDA_VISIBLE_DEVICES" not in script.build_environment()


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("g++"), reason="headers are precompiled for GCC alone")
def test_headers_are_precompiled_for_gcc(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "g++")
    environment = script.build_environment()
    script.precompile(tmp_path, environment)
    assert (tmp_path / "torch_headers.h.gch").exists()
    assert environment["CXXFLAGS"].endswith(f"-g0 -include {tmp_path / 'torch_headers.h'}")


def test_no_compiler_is_said_before_the_build(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SystemExit, match=r"no C\+\+ compiler here .*apt-get install g\+\+"):
        script.main("mmcv==2.1.0")
