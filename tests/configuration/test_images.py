"""Sources of images without labels."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pcka_mmdet.configuration.images import ORIENTATION, read_images
from pcka_mmdet.configuration.sentence import sentence


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images, one of them in a folder within, one turned by its EXIF data."""
    (tmp_path / "more").mkdir()
    for name, size in (("b.jpg", (40, 30)), ("more/a.PNG", (20, 10))):
        Image.new("RGB", size).save(tmp_path / name)
    turned = Image.new("RGB", (50, 16))
    exif = turned.getexif()
    exif[ORIENTATION] = 6
    turned.save(tmp_path / "c.jpg", exif=exif)
    (tmp_path / "notes.txt").write_text("b.jpg\n\nmore/a.PNG\n")
    return tmp_path


def coco(folder: Path, *entries: dict) -> Path:
    file = folder / "labels" / "some.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(dict(images=entries, annotations=[], categories=[])))
    return file


def test_a_folder_with_its_folders_and_sizes_as_they_are_read(folder):
    images = read_images(str(folder))
    assert [(e["id"], e["file_name"], e["width"], e["height"]) for e in images.entries] == [
        (1, "b.jpg", 40, 30),
        (2, "c.jpg", 16, 50),  # mmcv turns it
        (3, "more/a.PNG", 20, 10),
    ]
    assert images.root == folder and images.annotations is None
    import mmcv

    assert mmcv.imread(str(folder / "c.jpg")).shape[:2] == (50, 16)


def test_images_that_pillow_calls_a_bomb(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert len(read_images(str(folder)).entries) == 3


def test_a_list(folder):
    images = read_images(str(folder / "notes.txt"))
    assert [e["file_name"] for e in images.entries] == ["b.jpg", "more/a.PNG"]


def test_a_coco_file_keeps_its_ids(folder):
    entry = dict(id="x7", file_name="b.jpg", width=40, height=30, flickr_url="...")
    file = coco(folder, entry)
    images = read_images(f"{file}:{folder}")
    assert images.entries == [dict(id="x7", file_name="b.jpg", width=40, height=30)]
    assert (images.root, images.annotations) == (folder, file)
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images .* write FILE.json:FOLDER"):
        read_images(str(file))


def test_names_without_folder_or_ending_are_known_if_they_are_clear(folder):
    Image.new("RGB", (8, 8)).save(folder / "more" / "b.jpg")
    found = read_images(str(folder)).by_name
    assert found["a"] == found["a.PNG"] == found["more/a.PNG"]
    assert "b" not in found and found["more/b.jpg"]["width"] == 8 and "b.jpg" not in found


def said(call) -> None:
    """Raise what a user is told."""
    try:
        call()
    except ValueError as error:
        raise ValueError(sentence(error)) from error


@pytest.mark.parametrize(
    "content, message",
    [
        ("gone.jpg\nb.jpg\n", r"1 of 2 images of .* are missing, such as .*gone.jpg"),
        ("b.jpg\nb.jpg\n", r"has 'b.jpg' twice"),
        ("\n", r"is empty: it needs one path of an image a line"),
        ("broken.jpg\n", r"the image .*broken.jpg' is damaged or empty"),
    ],
)
def test_what_is_wrong_with_a_list(folder, content, message):
    (folder / "broken.jpg").write_bytes(b"")
    (folder / "list.txt").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_images(str(folder / "list.txt"))


def test_what_is_wrong_with_other_sources(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"there is no image in .*empty' or its folders: it needs .jpg"):
        read_images(str(folder / "empty"))
    with pytest.raises(FileNotFoundError, match=r"there is no folder or file 'nowhere' \(the current directory is"):
        read_images("nowhere")
    (folder / "weights.pth").touch()
    with pytest.raises(ValueError, match=r"weights.pth' lists no images: give a folder"):
        read_images(str(folder / "weights.pth"))
    entry = dict(id=1, file_name="b.jpg", width=40, height=30)
    with pytest.raises(ValueError, match=r"is not in COCO's format \(KeyError: 'height'\)"):
        read_images(f"{coco(folder, dict(id=1, file_name='b.jpg', width=40))}:{folder}")
    with pytest.raises(ValueError, match=r"has 'the id 1' twice"):
        read_images(f"{coco(folder, entry, {**entry, 'file_name': 'c.jpg'})}:{folder}")
    for content in ("", "<html>"):
        (folder / "broken.json").write_text(content)
        with pytest.raises(ValueError, match=r"broken.json' is no valid JSON"):
            said(lambda: read_images(f"{folder / 'broken.json'}:{folder}"))
    with pytest.raises(FileNotFoundError, match=r"there is no folder or file 'gone.json' \(the current directory is"):
        read_images(f"gone.json:{folder}")
    with pytest.raises(ValueError, match=r"lists no images$"):
        read_images(f"{coco(folder)}:{folder}")
