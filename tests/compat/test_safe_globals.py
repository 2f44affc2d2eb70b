"""Checkpoints: what MMEngine writes is loaded, and no file runs code."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch import nn
from torch.utils.data import DataLoader

from pcka_mmdet.checkpoints.files import safe_loading
from pcka_mmdet.compat import safe_globals
from pcka_mmdet.compat.safe_globals import checkpoint_method

needs_safe_loader = pytest.mark.skipif(
    not safe_globals.loads_safely(), reason="before torch 2.6 loading is left as torch has it"
)


class Pickled:
    """An object whose unpickling calls ``function(*arguments)``."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, inputs: torch.Tensor, mode: str = "loss") -> dict[str, torch.Tensor]:
        return {"loss": self.fc(inputs).square().mean()}


def runner(work_dir: Path, max_iters: int, **settings: object) -> Runner:
    """Return a Runner that saves after every iteration."""
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader([{"inputs": torch.ones(1)}] * 4),
        train_cfg={"by_epoch": False, "max_iters": max_iters},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        param_scheduler={"type": "OneCycleLR", "eta_max": 0.1, "total_steps": 3, "by_epoch": False},
        default_hooks={
            "checkpoint": {"type": "CheckpointHook", "interval": 1, "by_epoch": False},
            "logger": {"type": "LoggerHook", "interval": 1},
        },
        experiment_name=f"{work_dir.name}-{max_iters}",
        **settings,
    )


def test_checkpoint_of_a_runner_resumes(tmp_path: Path) -> None:
    runner(tmp_path, 2).train()
    checkpoint = CheckpointLoader.load_checkpoint(str(tmp_path / "iter_2.pth"))
    assert isinstance(checkpoint["message_hub"]["log_scalars"]["train/loss"], HistoryBuffer)

    resumed = runner(tmp_path, 3, resume=True)
    resumed.train()
    assert resumed.iter == 3
    assert len(resumed.message_hub.get_scalar("train/loss").data[0]) == 3


@needs_safe_loader
def test_numbers_and_arrays_of_both_numpys_load(tmp_path: Path) -> None:
    values = {"floats": np.ones(2), "ints": np.arange(2), "bools": np.array([True]), "number": np.float64(0.5)}
    torch.save(values, tmp_path / "new.pth")
    loaded = torch.load(tmp_path / "new.pth")
    assert all(np.array_equal(loaded[name], value) for name, value in values.items())

    for core in ("core", "_core"):  # numpy 1 and numpy 2 pickle the same functions under these names
        assert f"numpy.{core}.multiarray._reconstruct" in allowed_names()


@needs_safe_loader
@pytest.mark.parametrize(
    ("hostile", "wanted"),
    [
        (Pickled(os.system, "echo hacked > hacked"), "system"),
        (Pickled(eval, "1 + 1"), "eval"),
        (Pickled(getattr, HistoryBuffer, "__init__"), r"getattr\(.*HistoryBuffer.*'__init__'\)"),
        (Pickled(getattr, np.ndarray, "dump"), r"getattr\(.*ndarray.*'dump'\)"),
        (Pickled(pickle.loads, pickle.dumps(1)), "loads"),
    ],
    ids=["os.system", "eval", "private", "foreign", "pickle.loads"],
)
def test_hostile_checkpoint_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: Pickled, wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": hostile}, "hostile.pth")
    with safe_loading(), pytest.raises((pickle.UnpicklingError, ValueError), match=wanted):  # as our tools load
        load_checkpoint(Line(), "hostile.pth")
    assert not (tmp_path / "hacked").exists()


@needs_safe_loader
def test_an_explicit_unsafe_load_is_safe_where_it_is_forced(tmp_path: Path) -> None:
    """OneDL's loader falls back to ``weights_only=False``. A user's own program may do so."""
    torch.save(Pickled(os.system, "true"), tmp_path / "hostile.pth")
    with safe_loading(), pytest.raises(pickle.UnpicklingError, match="system"):
        torch.load(tmp_path / "hostile.pth", weights_only=False)
    torch.save(nn.Linear(1, 1), tmp_path / "own.pth")
    assert isinstance(torch.load(tmp_path / "own.pth", weights_only=False), nn.Linear)


def test_only_the_methods_that_mmengine_names_are_handed_out() -> None:
    for name in ("min", "max", "mean", "current"):
        assert checkpoint_method(HistoryBuffer, name) is getattr(HistoryBuffer, name)
    for name in ("_annealing_cos", "_annealing_linear"):
        assert checkpoint_method("OneCycleParamScheduler", name) is getattr(OneCycleParamScheduler, name)
    for owner, name in [
        (HistoryBuffer, "__init__"),
        (HistoryBuffer, "update"),
        (HistoryBuffer(), "mean"),
        ("OneCycleParamScheduler", "format"),
        (os, "system"),
    ]:
        with pytest.raises(ValueError, match=f"'{name}'.*min, max, mean, current"):
            checkpoint_method(owner, name)


@needs_safe_loader
def test_applying_twice_is_applying_once() -> None:
    before = torch.serialization.get_safe_globals()
    safe_globals.apply()
    assert len(torch.serialization.get_safe_globals()) == len(before)


@needs_safe_loader
def test_the_users_own_choice_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with safe_loading():
        assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@needs_safe_loader
def test_torch_without_such_a_list_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.1.2")
    monkeypatch.delattr(torch.serialization, "add_safe_globals")
    safe_globals.apply()
    with safe_loading():
        assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ  # it would refuse every checkpoint of MMEngine there


@pytest.fixture
def onedl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be on the OneDL stack, and put torch back afterwards."""
    monkeypatch.setattr(mmengine, "__version__", "0.10.12")
    monkeypatch.setattr(torch.serialization, "safe_globals", torch.serialization.safe_globals)
    safe_globals.apply()


@needs_safe_loader
@pytest.mark.usefixtures("onedl")
def test_getattr_stays_guarded_and_our_types_stay_allowed() -> None:
    before = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([getattr, np.dtype, range]):
        inside = torch.serialization.get_safe_globals()
    assert getattr not in inside
    assert range in inside
    assert set(torch.serialization.get_safe_globals()) == set(before)


@needs_safe_loader
@pytest.mark.usefixtures("onedl")
def test_a_list_is_guarded_once() -> None:
    guarded = torch.serialization.safe_globals
    safe_globals.apply()
    assert torch.serialization.safe_globals is guarded


def allowed_names() -> list[str]:
    """Return the names that were given with their objects to torch's list."""
    return [entry[1] for entry in torch.serialization.get_safe_globals() if isinstance(entry, tuple)]
