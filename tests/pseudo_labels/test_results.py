"""Files of detections from anywhere."""

import json
from pathlib import Path

import pytest

from pcka_mmdet.configuration.images import ImageSet
from pcka_mmdet.configuration.sentence import sentence
from pcka_mmdet.pseudo_labels.results import read_classes, read_results

ENTRIES = [dict(id=n, file_name=f"shots/{n}.jpg", width=100, height=50) for n in (11, 12)]
FOLDER, COCO = ImageSet("shots", Path(), ENTRIES), ImageSet("some.json", Path(), ENTRIES, Path("some.json"))
IDS = {"cat": 1, "dog": 2}
ROW = dict(image_id=11, category_id=2, bbox=[10, 10, 20, 20], score=0.5)


@pytest.fixture
def write(tmp_path):
    def write(*rows: dict | list, content=None) -> Path:
        file = tmp_path / "results.json"
        file.write_text(json.dumps(list(rows) if content is None else content))
        return file

    return write


@pytest.mark.parametrize("image", [11, "11", "11.jpg", "shots/11.jpg"])
@pytest.mark.parametrize("category", [2, "2", "dog"])
def test_images_and_classes_are_found_by_number_or_name(write, image, category):
    found = read_results(write(dict(ROW, image_id=image, category_id=category)), COCO, IDS, {})
    (one,) = found[11]
    assert (one.name, one.bbox, one.score) == ("dog", (10.0, 10.0, 20.0, 20.0), 0.5) and found[12] == []


def test_classes_of_other_names_are_mapped(write):
    rows = [dict(ROW, category_id=0), dict(ROW, category_id="Katze"), dict(ROW, category_id=5)]
    found = read_results(write(*rows), COCO, IDS, {"0": "dog", "Katze": "cat", "5": None})
    assert [one.name for one in found[11]] == ["dog", "cat"]


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            [dict(ROW, image_id=99)],
            r"1 of 1 rows .* such as image_id=99: write the file name, such as 'shots/11.jpg' or",
        ),
        ([dict(ROW, category_id=80)], r"has the classes \[80\], which are not known.* such as {\"80\": \"cat\"}"),
        ([{"image_id": 11, "category_id": 1, "bbox": [1, 1, 2, 2]}], r"1 of 1 rows of .* lack 'score'"),
        ([dict(ROW, bbox=[1, 1, 2])], r"bbox is four numbers"),
        ([dict(ROW, bbox=[1, 1, 2, None])], r"bbox is four numbers"),
        ([dict(ROW, score=87)], r"has the score 87: scores are from 0 to 1"),
        ([dict(ROW, bbox=[40, 20, 90, 45])] * 3, r"they would fit as corners x1, y1, x2, y2"),
        ([dict(ROW, bbox=[0.1, 0.2, 0.3, 0.4])] * 3, r"boxes are fractions of the image's size"),
        ([dict(ROW, bbox=[90, 45, 500, 500])] * 3, r"3 of 3 boxes leave their images"),
    ],
)
def test_what_is_wrong_gets_a_sentence(write, rows, message):
    with pytest.raises(ValueError, match=message):
        read_results(write(*rows), COCO, IDS, {})


def test_a_score_that_is_no_number(write):
    with pytest.raises(ValueError, match="bbox is four numbers, and score is one"):
        read_results(write(dict(ROW, score=True)), COCO, IDS, {})


def test_numbers_of_images_in_a_folder_are_their_names(write):
    assert read_results(write(ROW), FOLDER, IDS, {})[11]  # of 11.jpg
    with pytest.raises(ValueError, match=r"write the file name, such as 'shots/11.jpg'$"):
        read_results(write(dict(ROW, image_id=1)), FOLDER, IDS, {})


def test_a_few_boxes_beyond_the_edge_are_no_mistake(write):
    rows = [dict(ROW, bbox=[10 + i, 10, 20, 20]) for i in range(20)] + [dict(ROW, bbox=[90, 45, 20, 10])]
    assert len(read_results(write(*rows), COCO, IDS, {})[11]) == 21


def test_boxes_outside_their_images_are_named(write, warned):
    rows = [dict(ROW, bbox=[10 + i, 10, 20, 20]) for i in range(20)] + [dict(ROW, bbox=[200, 45, 20, 10])]
    read_results(write(*rows), COCO, IDS, {})
    (text,) = warned
    assert text.startswith("1 of 21 boxes of ") and "left out: within their images they are narrower or lower" in text


def test_rows_that_come_twice_count_once(write):
    assert len(read_results(write(ROW, ROW, dict(ROW, score=0.25)), COCO, IDS, {})[11]) == 2


def test_boxes_of_which_a_few_do_not_fit_as_corners(write):
    rows = [dict(ROW, bbox=[40, 20, 90, 45])] * 30 + [dict(ROW, bbox=[40, 20, 103, 45])]
    with pytest.raises(ValueError, match="30 of 31|31 of 31 boxes leave their images, and they would fit as corners"):
        read_results(write(*rows), COCO, IDS, {})


def test_other_files_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match=r"is an annotation file; detections are a list of dict"):
        read_results(write(content=dict(images=[], annotations=[])), COCO, IDS, {})
    with pytest.raises(ValueError, match=r"is not in that format; detections are"):
        read_results(write(3), COCO, IDS, {})
    with pytest.raises(FileNotFoundError, match=r"there is no file 'none.json' of detections"):
        read_results(Path("none.json"), COCO, IDS, {})
    with pytest.raises(ValueError, match=r"--classes maps to \['horse'\], and the classes are \['cat', 'dog'\]"):
        read_results(write(ROW), COCO, IDS, {"2": "horse"})
    for content in ([], {"a": 3}):
        with pytest.raises(ValueError, match=r"is no map of classes: write {"):
            read_classes(write(content=content))
    assert read_classes(write(content={"a": "b", "c": None})) == {"a": "b", "c": None}
    with pytest.raises(ValueError, match=r"has no detection: detections are a list of dict"):
        read_results(write(), COCO, IDS, {})
    assert read_results(write(ROW), COCO, IDS, {})[12] == []


@pytest.mark.parametrize("read", [lambda file: read_results(file, COCO, IDS, {}), read_classes])
def test_a_file_that_is_no_json_is_named(tmp_path, read):
    (tmp_path / "broken.json").write_text("")
    with pytest.raises(json.JSONDecodeError) as error:
        read(tmp_path / "broken.json")
    assert "broken.json' is no valid JSON" in sentence(error.value)


@pytest.mark.parametrize("side", [float("nan"), float("inf")])
def test_a_box_that_is_not_finite_is_refused(write, side):
    with pytest.raises(ValueError, match=r"bbox is four numbers"):
        read_results(write(dict(ROW, bbox=[side, 1, 2, 2])), COCO, IDS, {})
