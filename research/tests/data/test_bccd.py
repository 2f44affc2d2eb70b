"""BCCD's conversion, on an archive made here, and what is said where it cannot be fetched."""

import io
import json
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO

from research.data import bccd
from research.data.bccd import BCCD

SPLITS = {"train": ["BloodImage_00001", "BloodImage_00003"], "val": ["BloodImage_00000"], "test": ["BloodImage_00002"]}
OBJECTS = [
    ("WBC", 10, 5, 30, 25),
    ("RBC", -3, 30, 20, 60),  # beyond the left and lower border
    ("Platelets", 60, 1, 64, 9),
    ("RBC", 70, 1, 80, 9),  # outside
    ("RBC", 7, 7, 7, 20),  # without width
    ("WBC", 10, 5, 30, 25),  # again
]


def make_archive(path: Path, objects=OBJECTS, leave_out: str = "nothing") -> Path:
    """The repository's archive with photographs of 64x48, without entries whose names contain `leave_out`."""
    entries = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, *box in objects
    )
    top = "BCCD_Dataset-0123abc"
    files = {f"{top}/LICENSE": b"MIT License", f"{top}/BCCD/ImageSets/Main/trainval.txt": b"BloodImage_00000\n"}
    for split, names in SPLITS.items():
        files[f"{top}/BCCD/ImageSets/Main/{split}.txt"] = "".join(f"{name}\n" for name in names).encode()
        for name in names:
            pixels = io.BytesIO()
            Image.new("RGB", (64, 48), (200, 150, 180)).save(pixels, "JPEG")
            files[f"{top}/BCCD/JPEGImages/{name}.jpg"] = pixels.getvalue()
            voc = f"<annotation><filename>other.jpg</filename>{entries}</annotation>"
            files[f"{top}/BCCD/Annotations/{name}.xml"] = voc.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            if leave_out not in name:
                archive.writestr(name, content)
    return path


@pytest.fixture
def archive(tmp_path) -> Path:
    return make_archive(tmp_path / "archive.zip")


def test_conversion(tmp_path, archive, capsys):
    root = BCCD.fetch(tmp_path / "data" / "bccd", archive)
    assert root == tmp_path / "data" / "bccd" and os.listdir(root.parent) == ["bccd"]
    assert sorted(os.listdir(root)) == ["LICENSE", "images", "test.json", "train.json", "val.json"]
    assert sorted(os.listdir(root / "images")) == sorted(f"{n}.jpg" for names in SPLITS.values() for n in names)
    content = json.loads((root / "train.json").read_text())
    assert content["images"] == [
        dict(id=1, file_name="BloodImage_00001.jpg", width=64, height=48),
        dict(id=2, file_name="BloodImage_00003.jpg", width=64, height=48),
    ]
    assert content["categories"] == [dict(id=i, name=n) for i, n in enumerate(("RBC", "WBC", "Platelets"), start=1)]
    assert content["annotations"][:3] == [
        dict(id=1, image_id=1, category_id=2, bbox=[10.0, 5.0, 20.0, 20.0], area=400.0, iscrowd=0),
        dict(id=2, image_id=1, category_id=1, bbox=[0.0, 30.0, 20.0, 18.0], area=360.0, iscrowd=0),
        dict(id=3, image_id=1, category_id=3, bbox=[60.0, 1.0, 4.0, 8.0], area=32.0, iscrowd=0),
    ]
    assert [a["id"] for a in content["annotations"]] == [1, 2, 3, 4, 5, 6]
    assert "converting 2 photographs of train" in capsys.readouterr().err


def test_pycocotools_reads_it(tmp_path, archive):
    root = BCCD.fetch(tmp_path / "bccd", archive)
    for split, names in SPLITS.items():
        coco = COCO(root / f"{split}.json")
        assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == [f"{name}.jpg" for name in names]


def test_download(tmp_path, archive, capsys):
    root = BCCD.fetch(tmp_path / "bccd", archive.as_uri())
    assert (root / "test.json").is_file()
    assert f"downloading file://{archive}" in capsys.readouterr().err


def test_a_complete_set_is_left_alone(tmp_path, archive):
    root = BCCD.fetch(tmp_path / "bccd", archive)
    assert BCCD.fetch(root, "nowhere://") == root


def test_an_incomplete_or_foreign_folder_is_not_touched(tmp_path, archive):
    root = BCCD.fetch(tmp_path / "bccd", archive)
    (root / "images" / "BloodImage_00000.jpg").unlink()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for folder in ("bccd", "mine", "file"):
        with pytest.raises(FileExistsError, match="is not empty and is no complete BCCD set"):
            BCCD.fetch(tmp_path / folder, archive)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_no_network(tmp_path):
    """Nothing listens at that port, as if there were no network."""
    with pytest.raises(SystemExit) as raised:
        bccd.main([str(tmp_path / "bccd"), "--archive", "http://127.0.0.1:9/bccd.zip"])
    message = raised.value.code
    assert "'http://127.0.0.1:9/bccd.zip' is no file and cannot be downloaded" in message
    assert f"no network, download {bccd.URL} on another machine and give the file by --archive FILE" in message
    assert not os.listdir(tmp_path)


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(ConnectionError, match="'archive.zip' is no file and cannot be downloaded"):
        BCCD.fetch(tmp_path / "bccd", "archive.zip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(leave_out="Main/train.txt"), "the archive holds no ImageSets/Main/train.txt: expected the repository"),
        (dict(leave_out="Main/val.txt"), "the archive lacks BCCD_Dataset-0123abc/BCCD/ImageSets/Main/val.txt"),
        (dict(leave_out="00003.jpg"), "the archive lacks BCCD_Dataset-0123abc/BCCD/JPEGImages/BloodImage_00003.jpg"),
        (dict(objects=[("cat", 1, 1, 5, 5)]), "00001.jpg has an object of class 'cat'; expected one of RBC, WBC, Plat"),
    ],
)
def test_another_archive(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        BCCD.fetch(tmp_path / "bccd", make_archive(tmp_path / "archive.zip", **change))
    assert os.listdir(tmp_path) == ["archive.zip"]


def test_half_an_archive(tmp_path, archive):
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(ValueError, match="archive.zip is no complete zip archive.*: download https://.* again"):
        BCCD.fetch(tmp_path / "bccd", archive)


@pytest.mark.parametrize(
    "damaged", ["<annotation><object>", "<annotation><object><name>RBC</name></object></annotation>"]
)
def test_a_damaged_annotation(tmp_path, archive, damaged):
    other = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(other, "w") as copy:
        for name in whole.namelist():
            copy.writestr(name, damaged if name.endswith(".xml") else whole.read(name))
    with pytest.raises(ValueError, match="damaged.zip is no complete zip archive, or a file in it is damaged"):
        BCCD.fetch(tmp_path / "bccd", other)


def test_an_interruption_leaves_nothing(tmp_path, archive, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bccd, "_add_boxes", interrupt)
    with pytest.raises(SystemExit, match="interrupted; nothing was changed"):
        bccd.main([str(tmp_path / "bccd"), "--archive", str(archive)])
    assert os.listdir(tmp_path) == ["archive.zip"]
