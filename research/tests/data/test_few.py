"""Data sets with few labelled images."""

import json
from pathlib import Path

import pytest

from research.data import few

CLASSES = [dict(id=1, name="a"), dict(id=2, name="b")]


@pytest.fixture(params=["", "annotations"])
def source(tmp_path, request) -> Path:
    """Ten images; the second class is in every second one."""
    folder = tmp_path / "whole" / request.param
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "whole" / "images").mkdir()
    images = [dict(id=i, file_name=f"{i}.jpg") for i in range(10)]
    boxes = [dict(id=i + 1, image_id=i, category_id=1 + i % 2) for i in range(10)]
    for split in ("train", "val", "test"):
        (folder / f"{split}.json").write_text(json.dumps(dict(images=images, annotations=boxes, categories=CLASSES)))
    return tmp_path / "whole"


def train(source: Path) -> Path:
    return next(source.rglob("train.json"))


def test_the_others_have_no_labels(source, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("3.jpg\n8.jpg\n")
    few.main([str(tmp_path / "few"), "--of", str(source), "--labelled", str(tmp_path / "list.txt")])
    assert "2 labelled images and 8 others" in capsys.readouterr().out
    place = tmp_path / "few" / train(source).parent.relative_to(source)
    labelled, rest = (json.loads((place / name).read_text()) for name in ("train.json", "rest.json"))
    assert [image["file_name"] for image in labelled["images"]] == ["3.jpg", "8.jpg"]
    assert [box["image_id"] for box in labelled["annotations"]] == [3, 8]
    assert len(rest["images"]) == 8 and rest["annotations"] == [] and rest["categories"] == CLASSES
    assert (place / "val.json").read_text() == train(source).with_name("val.json").read_text()
    assert (tmp_path / "few" / "images").is_dir() and len(json.loads(train(source).read_text())["images"]) == 10
    few.main([str(tmp_path / "few"), "--of", str(source), "--labelled", str(tmp_path / "list.txt")])  # once more


def test_a_draw_is_repeatable_and_has_every_class(source):
    names = few.draw(train(source), 0.4)
    assert names == few.draw(train(source), 0.4) and len(names) == 4 and names == sorted(names)
    with pytest.raises(ValueError, match=r"seed \d draws no object of the categories \[[12]\]"):
        for seed in range(9):
            few.draw(train(source), 0.1, seed)


def test_unknown_images_are_refused(source, tmp_path):
    with pytest.raises(ValueError, match=r"1 labelled images are not in the file, such as 'x.jpg'"):
        few.build(tmp_path / "few", source, ["1.jpg", "x.jpg"])


def test_the_lists_are_shares_of_the_training_images():
    sizes = {path.stem: len(path.read_text().split()) for path in sorted(few.LISTS.glob("*.txt"))}
    # of 205, 800 and 1000
    assert sizes == dict(bccd_10=20, bccd_25=51, deeppcb_10=80, deeppcb_25=200, digits_10=100, digits_25=250)
    for path in few.LISTS.glob("*.txt"):
        names = path.read_text().split()
        assert len(set(names)) == len(names)
