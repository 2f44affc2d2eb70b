"""torchvision's weights without torchvision."""

import re
import sys
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from pcka_mmdet.checkpoints.files import weights_url


@pytest.fixture(autouse=True)
def no_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # `import torchvision` fails


def test_they_are_read_from_where_torch_keeps_downloads(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save({"fc.bias": torch.arange(3.0)}, tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    assert CheckpointLoader.load_checkpoint("torchvision://resnet18")["fc.bias"].tolist() == [0, 1, 2]


def test_all_that_the_configs_of_mmdetection_name_are_known():
    configs = (Path(mmdet.__file__).parent / ".mim" / "configs").rglob("*.py")
    named = {name for config in configs for name in re.findall(r"torchvision://\w+", config.read_text())}
    assert {"torchvision://resnet18", "torchvision://resnet101"} <= named
    assert all(re.match(r"https://download\.pytorch\.org/models/\w+-[0-9a-f]{8}\.pth$", weights_url(n)) for n in named)


def test_a_name_that_only_torchvision_knows():
    with pytest.raises(ValueError, match="no URL is known for 'torchvision://resnet50.imagenet1k_v2': install"):
        CheckpointLoader.load_checkpoint("torchvision://resnet50.imagenet1k_v2")
