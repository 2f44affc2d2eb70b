"""What is installed, by the names of the distributions."""

import pytest
import torch

from pcka_mmdet import __version__
from pcka_mmdet.configuration import installed


def test_releases_name_the_forks_where_these_are_installed(monkeypatch):
    there = {"mmengine": ["onedl-mmengine"], "mmcv": ["onedl-mmcv"], "mmdet": ["onedl-mmdetection"], "torch": ["torch"]}
    monkeypatch.setattr(installed, "_distributions", lambda: there)
    monkeypatch.setattr(installed, "version", lambda name: "1.2")
    monkeypatch.setattr(installed.sys, "modules", dict(torch=torch))
    expected = f"pcka_mmdet {__version__}, torch {torch.__version__}, onedl-mmengine 1.2, onedl-mmcv 1.2"
    assert installed.releases() == f"{expected}, onedl-mmdetection 1.2"
    assert installed.release("mmrazor.models") is None


@pytest.mark.parametrize(
    "release, old", [("2.0.1+cu118", True), ("1.13.1", True), ("2.1.0", False), ("2.13.0+cpu", False), ("2.1a0", False)]
)
def test_a_torch_that_is_too_old(monkeypatch, release, old):
    """pip does not replace it."""
    monkeypatch.setattr(installed, "version", lambda name: release)
    said = f"torch {release} is installed, and pcka_mmdet needs 2.1 or newer: install it, and the mmcv for it"
    assert installed.missing() == ([said] if old else [])
