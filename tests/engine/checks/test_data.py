"""Each annotation is read: what is wrong with entries, how many there are, and what to do."""

import json

import pytest
from mmengine.config import Config
from PIL import Image

from pcka_mmdet.engine.checks import ERROR, OK, WARNING
from pcka_mmdet.engine.checks.entries import examine_entries
from pcka_mmdet.engine.checks.image_files import check_images
from tests.coco import write_coco


@pytest.fixture
def root(tmp_path):
    """Three files of 4 images, 320 x 160 pixels, and 8 boxes."""
    return write_coco(tmp_path / "data", ("cat", "dog"), ("train.json", "val.json", "test.json"), images=4)


def config(root, **files):
    files = {"train": "train.json", "val": "val.json", "test": "test.json", **files}
    dataset = dict(type="CocoDataset", data_root=str(root), metainfo=dict(classes=("cat", "dog")))
    loaders = {
        f"{split}_dataloader": dict(dataset=dict(dataset, ann_file=file, data_prefix=dict(img=f"images/../{split}")))
        for split, file in files.items()
        if file
    }
    return Config(dict(default_scope="mmdet", **loaders))


def change(root, name, edit):
    content = json.loads((root / name).read_text())
    edit(content)
    (root / name).write_text(json.dumps(content))


def findings(root, **files):
    return [(found.level, found.subject, found.text) for found in examine_entries(config(root, **files))]


def test_files_that_are_right(root):
    assert findings(root) == [(OK, f"entries of {split}", "4 images, 8 boxes") for split in ("train", "val", "test")]


def test_files_of_which_a_part_is_used(root):
    part = config(root)
    part.val_dataloader.dataset.indices = 3
    texts = [finding.text for finding in examine_entries(part)]
    assert texts == ["4 images, 8 boxes", "4 images, 8 boxes; 3 of the images are used (indices)", "4 images, 8 boxes"]


def without(key, number=8):
    def edit(content):
        for box in content["annotations"][:number]:
            del box[key]

    return edit


def of_boxes(make):
    """Each box `x, y, width, height` replaced by another."""

    def edit(content):
        for number, box in enumerate(content["annotations"]):
            box["bbox"] = make(number, *box["bbox"])

    return edit


def of_images(**values):
    return lambda content: content["images"][1].update(values)


def first_box(**values):
    return lambda content: content["annotations"][0].update(values)


CASES = {
    "iscrowd": (without("iscrowd", 3), ERROR, "3 of 8 annotations lack 'iscrowd', .* COCO's metric reads: write 0"),
    "area": (without("area"), ERROR, "8 of 8 annotations lack 'area', .*: write width times height of the box"),
    "corners": (
        of_boxes(lambda i, x, y, w, h: [x + 100, y + 80, x + 100 + w, y + 80 + h]),
        ERROR,
        r"8 of 8 boxes leave their images, and they would fit as corners x1, y1, x2, y2: .*write x2 - x1",
    ),
    "fractions": (
        of_boxes(lambda i, x, y, w, h: [x / 320, y / 160, w / 320, h / 160]),
        ERROR,
        "8 of 8 boxes are fractions of the image's size: .*multiply x and width by the image's width",
    ),
    "no width": (first_box(bbox=[10, 10, 0, 40]), WARNING, "1 of 8 boxes are narrower or lower than a pixel"),
    "outside": (first_box(bbox=[300, 10, 90, 40]), WARNING, "1 of 8 boxes leave their images: are width and height"),
    "negative": (first_box(bbox=[-30, 10, 90, 40]), WARNING, "1 of 8 boxes leave their images"),
    "nan": (first_box(bbox=[float("nan"), 1, 2, 3]), ERROR, "1 of 8 boxes are not four numbers .*or are NaN"),
    "three": (first_box(bbox=[1, 2, 3]), ERROR, "1 of 8 boxes are not four numbers x, y, width, height"),
    "text": (first_box(bbox="1 2 3 4"), ERROR, "1 of 8 boxes are not four numbers"),
    "id twice": (of_images(id=0), ERROR, "1 of 4 images have the id of another: .*number the images anew"),
    "name twice": (of_images(file_name="0.jpg"), WARNING, "1 of 4 images are in the file twice"),
    "no height": (lambda content: content["images"][0].pop("height"), ERROR, "1 of 4 images lack 'height'"),
    "box twice": (first_box(id=2), ERROR, "1 of 8 annotations have the id of another, and COCO's metric would lose"),
    "id 0": (first_box(id=0), WARNING, "1 of 8 annotations have the id 0, which COCO's metric takes for no match"),
    "category": (first_box(category_id=9), WARNING, "1 of 8 annotations are of a category that the file does not"),
    "image": (first_box(image_id=77), WARNING, "1 of 8 annotations are of an image that the file does not list"),
    "image as list": (first_box(image_id=[7]), WARNING, "1 of 8 annotations are of an image that the file does not"),
}


@pytest.mark.parametrize("edit, level, said", CASES.values(), ids=CASES)
def test_what_is_wrong_with_entries(root, edit, level, said):
    change(root, "val.json", edit)
    found = [finding for finding in examine_entries(config(root)) if finding.level != OK]
    assert [(finding.level, finding.subject) for finding in found[:1]] == [(level, "entries of val")]
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(found[0].text)
    assert found[0].text.endswith(f"({str(root / 'val.json')!r})")


def test_what_a_training_does_not_read_is_no_error(root):
    """`iscrowd` is read by COCO's metric, and the test's file by no training."""
    change(root, "train.json", without("iscrowd"))
    change(root, "test.json", without("area"))
    levels = {subject: level for level, subject, _ in findings(root)}
    assert levels == {"entries of train": OK, "entries of val": OK, "entries of test": WARNING}


def test_files_and_images_of_two_purposes(root):
    found = config(root, test="val.json")
    found.test_dataloader.dataset.data_prefix = found.val_dataloader.dataset.data_prefix
    *_, last = examine_entries(found)
    assert (last.level, last.subject) == (WARNING, "val and test share images")
    assert last.text.endswith("keep some images for the test")
    shared = config(root)
    shared.val_dataloader.dataset.data_prefix = shared.train_dataloader.dataset.data_prefix
    (found,) = [finding for finding in examine_entries(shared) if finding.level == WARNING]
    assert found.subject == "train and val share images"
    assert found.text.startswith(f"4, such as {str(root / 'train' / '0.jpg')!r}: the AP would")
    shared.val_dataloader.dataset.data_prefix = dict(img="./train/")
    assert "train and val share images" in [finding.subject for finding in examine_entries(shared)]


def test_annotations_of_lvis(root):
    """Its images have an address in place of a name, and its metric reads no `iscrowd`."""

    def of_lvis(content):
        for image in content["images"]:
            image["coco_url"] = f"http://images.cocodataset.org/{image.pop('file_name')}"
        for box in content["annotations"]:
            del box["iscrowd"]

    for split in ("train", "val", "test"):
        change(root, f"{split}.json", of_lvis)
    lvis = config(root)
    lvis.val_evaluator = lvis.test_evaluator = dict(type="LVISMetric", ann_file="val.json")
    assert [finding.level for finding in examine_entries(lvis)] == [OK] * 3
    lvis.val_evaluator = dict(type="CocoMetric")
    assert [finding.level for finding in examine_entries(lvis)] == [OK, ERROR, OK]


def test_files_in_another_format(root):
    (root / "train.json").write_text("{")
    change(root, "test.json", lambda content: content.update(images=3, annotations=[7]))
    (root / "val.json").write_text('[{"image_id": 1, "score": 0.5}]')
    assert [level for level, *_ in findings(root)] == [ERROR, WARNING]
    wrong = config(root)
    wrong.train_dataloader.dataset.metainfo.classes = "cat"
    list(examine_entries(wrong))


def test_half_a_jpeg_and_an_image_of_another_size(root, monkeypatch):
    loader = config(root)
    loader.val_dataloader.dataset.data_prefix.img = "images"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's default is below the size of aerial images
    assert check_images(loader, "val_dataloader").startswith("4 files decoded in ")
    path = root / "images" / "2.jpg"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"1 of 4 .* '.*2.jpg' \(image file is truncated .* copy the files again"):
        check_images(loader, "val_dataloader")
    Image.new("RGB", (64, 48)).save(path)
    with pytest.raises(ValueError, match=r"2.jpg' \(64 x 48 pixels, and 320 x 160 in the annotation file\)"):
        check_images(loader, "val_dataloader")
    path.write_text("no image")
    with pytest.raises(ValueError, match=r"2.jpg' \(cannot identify image file it\)"):
        check_images(loader, "val_dataloader")
