"""What tests of several folders use. Importing the package makes the MM packages importable, as the tools do."""

import gc
import logging
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger

from pcka_mmdet.demo import build_digit_scenes
from tests.programs import QUICKER


def pytest_collection_finish() -> None:
    """Leave the garbage collector, which MMEngine calls for each data set, only objects of the tests to look at."""
    gc.freeze()


@pytest.fixture(autouse=True)
def seed() -> None:
    """Each test draws the same random numbers, whatever ran before it in its process."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def outside_of_a_training(monkeypatch) -> None:
    """Each test begins without the progress of another's training."""
    monkeypatch.setattr(MessageHub, "_instance_dict", {})


@pytest.fixture(autouse=True)
def quicker_configs(monkeypatch) -> None:
    """Configs are written as they are, and metafiles read once."""
    for module, name, function in QUICKER:
        monkeypatch.setattr(module, name, function, raising=False)


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    """Warnings in MMEngine's log."""
    found: list[str] = []

    def keep(logger: MMLogger, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            found.append(record.getMessage())

    monkeypatch.setattr(MMLogger, "callHandlers", keep)
    return found


@pytest.fixture(scope="session")
def digit_scenes(tmp_path_factory) -> Path:
    """8 scenes to train on, 4 to validate and to test on."""
    return build_digit_scenes(tmp_path_factory.mktemp("digits") / "scenes", dict(train=8, val=4, test=4))
