"""DeepPCB's conversion, on an archive made here, and the split of the copy that figures were measured on."""

import hashlib
import io
import json
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from research.data import deeppcb
from research.data.deeppcb import DEEPPCB, LISTS

SHARED = Path("../shared/data/deeppcb")
TRAINVAL = [f"group20085/20085/20085{number:03d}.jpg" for number in range(6)]
TEST = ["group12100/12100/12100007.jpg"]
BOXES = "10 20 50 40 3\n30 30 31 30 1\n600 600 700 700 6\n\n"


def make_archive(path: Path, boxes: str = BOXES, leave_out: str = "nothing") -> Path:
    """The repository's archive, without entries whose names contain `leave_out`."""
    top, files = "DeepPCB-master", {"LICENSE": b"MIT License"}
    for name, images in (("trainval", TRAINVAL), ("test", TEST)):
        pairs = [(image, f"{Path(image).parent}_not/{Path(image).stem}.txt") for image in images]
        files[f"PCBData/{name}.txt"] = "".join(f"{image} {text}\n" for image, text in pairs).encode()
        for image, text in pairs:
            pixels = io.BytesIO()
            Image.fromarray(np.full((640, 640), int(Path(image).stem) % 200, np.uint8)).save(pixels, "JPEG")
            files[f"PCBData/{image.replace('.jpg', '_test.jpg')}"] = pixels.getvalue()
            files[f"PCBData/{image.replace('.jpg', '_temp.jpg')}"] = b"without defects"
            files[f"PCBData/{text}"] = boxes.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            if leave_out not in name:
                archive.writestr(f"{top}/{name}", content)
    return path


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    names = "\n".join(Path(image).stem for image in TRAINVAL + TEST)
    monkeypatch.setattr(deeppcb, "LISTS", hashlib.sha256(names.encode()).hexdigest())
    monkeypatch.setattr(deeppcb, "VALIDATION", 2)
    return make_archive(tmp_path / "archive.zip")


def file_names(root: Path) -> dict[str, list[str]]:
    """File names of the images by split."""
    contents = {split: json.loads((root / f"{split}.json").read_text()) for split in ("train", "val", "test")}
    return {split: [image["file_name"] for image in content["images"]] for split, content in contents.items()}


def test_conversion(tmp_path, archive, capsys):
    root = DEEPPCB.fetch(tmp_path / "data" / "deeppcb", archive)
    assert sorted(os.listdir(root)) == ["LICENSE", "images", "test.json", "train.json", "val.json"]
    names = file_names(root)
    shuffled = [Path(image).name for image in TRAINVAL]
    random.Random(0).shuffle(shuffled)
    assert names == dict(train=shuffled[:4], val=shuffled[4:], test=["12100007.jpg"])
    assert sorted(os.listdir(root / "images")) == sorted(name for split in names.values() for name in split)
    content = json.loads((root / "test.json").read_text())
    assert content["images"] == [dict(id=1, file_name="12100007.jpg", width=320, height=320)]
    assert [category["name"] for category in content["categories"]] == list(deeppcb.CLASSES)
    shared = dict(image_id=1, iscrowd=0)
    assert content["annotations"] == [  # in halved pixels; without the empty one, and clipped
        dict(id=1, category_id=3, bbox=[5.0, 10.0, 20.0, 10.0], area=200.0, **shared),
        dict(id=2, category_id=6, bbox=[300.0, 300.0, 20.0, 20.0], area=400.0, **shared),
    ]
    photograph = Image.open(root / "images" / "12100007.jpg")
    assert photograph.mode == "L" and photograph.size == (320, 320)
    assert abs(np.asarray(photograph).astype(int) - 12100007 % 200).max() <= 2
    assert len(COCO(root / "train.json").getImgIds()) == 4
    assert "converting 4 photographs of train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(leave_out="trainval"), "the archive holds no PCBData/trainval.txt: expected the repository of DeepPCB"),
        (
            dict(leave_out="12100007_test"),
            "the archive lacks DeepPCB-master/PCBData/group12100/12100/12100007_test.jpg",
        ),
        (dict(boxes="1 2 30 40 7"), "a defect of class 7; expected 1 to 6"),
    ],
)
def test_another_archive(tmp_path, archive, change, message):
    with pytest.raises(ValueError, match=message):
        DEEPPCB.fetch(tmp_path / "deeppcb", make_archive(archive, **change))
    assert os.listdir(tmp_path) == ["archive.zip"]


def test_other_lists_would_give_another_split(tmp_path):
    with pytest.raises(ValueError, match="the lists of the archive are not those of DeepPCB"):
        DEEPPCB.fetch(tmp_path / "deeppcb", make_archive(tmp_path / "archive.zip"))


def test_the_command_line(tmp_path, archive, capsys):
    deeppcb.main([str(tmp_path / "deeppcb"), "--archive", str(archive)])
    assert capsys.readouterr().out == f"DeepPCB is in {tmp_path / 'deeppcb'}\n"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/deeppcb")
def test_the_split_is_that_of_the_copy_that_figures_are_from():
    names = file_names(SHARED)
    groups = list(dict.fromkeys(name[:5] for name in names["test"]))  # in the order of the data set's lists
    trainval = sorted(names["train"] + names["val"], key=lambda name: (groups.index(name[:5]), name))
    assert hashlib.sha256("\n".join(Path(n).stem for n in trainval + names["test"]).encode()).hexdigest() == LISTS
    random.Random(0).shuffle(trainval)
    assert trainval[: -deeppcb.VALIDATION] == names["train"] and trainval[-deeppcb.VALIDATION :] == names["val"]
