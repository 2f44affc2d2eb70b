"""The scripts of docs/other-teachers.md, with stand-ins for the frameworks, write files that are read."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from PIL import Image

from pcka_mmdet.configuration.images import read_images
from pcka_mmdet.pseudo_labels.results import read_results
from tests.pages import blocks


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    images = tmp_path / "data" / "unlabelled"
    images.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (100, 50)).save(images / name)
    monkeypatch.chdir(tmp_path)
    return images


def yolo(images: Path) -> ModuleType:
    """A module like `ultralytics`: in each image a dog, by its centre."""

    def predict(source: str, conf: float, stream: bool):
        for file in sorted(Path(source).iterdir()):
            boxes = SimpleNamespace(
                xywh=torch.tensor([[30.0, 20.0, 20.0, 10.0]]), conf=torch.tensor([0.5]), cls=torch.tensor([1.0])
            )
            yield SimpleNamespace(path=str(file.resolve()), names={0: "cat", 1: "dog"}, boxes=boxes)

    module = ModuleType("ultralytics")
    module.YOLO = lambda file: SimpleNamespace(predict=predict)
    return module


def transformers(images: Path) -> ModuleType:
    """A module like `transformers`: in each image the same dog, by its corners."""

    def detect(file: str, threshold: float):
        return [dict(score=0.5, label="dog", box=dict(xmin=20, ymin=15, xmax=40, ymax=25))]

    module = ModuleType("transformers")
    module.pipeline = lambda task, model: detect
    return module


@pytest.mark.parametrize("framework", [yolo, transformers])
def test_a_script_writes_a_file_that_is_read(folder, framework, monkeypatch):
    module = framework(folder)
    (script,) = [block for block in blocks("docs/other-teachers.md", "python") if f"from {module.__name__} " in block]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(script, "script", "exec"), {})
    found = read_results(Path("found.json"), read_images(str(folder)), {"dog": 3, "cat": 4}, {})
    assert {image: [(one.name, one.bbox, one.score) for one in boxes] for image, boxes in found.items()} == {
        number: [("dog", (20.0, 15.0, 20.0, 10.0), 0.5)] for number in (1, 2)
    }
