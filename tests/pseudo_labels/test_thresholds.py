"""Thresholds of scores, chosen on labelled images."""

import json
import math

import numpy as np
import pytest

from pcka_mmdet.pseudo_labels.detections import Detection
from pcka_mmdet.pseudo_labels.thresholds import choose, fixed

IDS = {"cat": 3, "dog": 7, "bird": 9}
BOX = (10.0, 10.0, 20.0, 20.0)
ELSEWHERE = (50.0, 50.0, 20.0, 20.0)


@pytest.fixture
def annotations(tmp_path):
    """Ten images with a cat each, four of them with a dog; no bird."""
    boxes = [(i, "cat", BOX) for i in range(10)] + [(i, "dog", BOX) for i in range(4)]
    file = tmp_path / "val.json"
    entries = [
        dict(id=n, image_id=image, category_id=IDS[name], bbox=list(box), area=400, iscrowd=0)
        for n, (image, name, box) in enumerate(boxes, 1)
    ]
    images = [dict(id=i, file_name=f"{i}.jpg", width=100, height=100) for i in range(10)]
    file.write_text(
        json.dumps(dict(images=images, annotations=entries, categories=[dict(id=n, name=k) for k, n in IDS.items()]))
    )
    return file


def cats(right: list[float], wrong: list[float]) -> dict:
    """Detections of cats: right ones with these scores, one an image, and wrong ones."""
    found = {image: [] for image in range(10)}
    for image, score in enumerate(right):
        found[image].append(Detection(BOX, score, "cat"))
    for image, score in enumerate(wrong):
        found[image].append(Detection(ELSEWHERE, score, "cat"))
    return found


def naive(right: list[float], wrong: list[float], beta: float, objects: int = 10) -> float:
    """The score with the best F, by trying all."""

    def f_score(threshold: float) -> float:
        hits, found = sum(s >= threshold for s in right), sum(s >= threshold for s in [*right, *wrong])
        precision, recall = hits / found, hits / objects
        return (1 + beta**2) * precision * recall / (beta**2 * precision + recall) if hits else 0.0

    return max(sorted([*right, *wrong], reverse=True), key=f_score)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_f1_is_sure_and_the_best_f2_unsure(annotations, seed):
    generator = np.random.default_rng(seed)
    right, wrong = generator.beta(3, 2, 9).round(2).tolist(), generator.beta(2, 3, 8).round(2).tolist()
    cat, *_ = choose(annotations, cats(right, wrong), IDS, list(IDS), None).thresholds
    assert cat.sure == naive(right, wrong, 1.0)
    assert cat.unsure == min(cat.sure, naive(right, wrong, 2.0))
    hits, found = sum(s >= cat.sure for s in right), sum(s >= cat.sure for s in [*right, *wrong])
    assert (cat.precision, cat.recall, cat.objects) == (pytest.approx(hits / found), pytest.approx(hits / 10), 10)


def test_a_wanted_precision_takes_the_lowest_score_that_has_it(annotations):
    right, wrong = [0.9, 0.8, 0.7, 0.6, 0.3], [0.75, 0.5, 0.4]
    cat, *_ = choose(annotations, cats(right, wrong), IDS, list(IDS), 0.8).thresholds
    assert (cat.sure, cat.precision) == (0.6, 0.8)  # 0.75 at a score of 0.7, and again 4 of 5 at 0.6
    low, *_ = choose(annotations, cats([0.9, 0.8], [0.5, 0.4, 0.3]), IDS, list(IDS), 0.4).thresholds
    assert low.sure == low.unsure == 0.3  # below the best F2, at 0.8
    nothing, *_ = choose(annotations, cats([0.5], [0.9]), IDS, list(IDS), 0.8).thresholds
    assert nothing.sure == nothing.unsure == math.inf


def test_boxes_of_one_score_are_taken_together(annotations):
    cat, *_ = choose(annotations, cats([0.9, 0.5, 0.5], [0.5] * 9), IDS, list(IDS), 0.9).thresholds
    assert (cat.sure, cat.precision) == (0.9, 1.0)


def test_classes_without_objects_take_the_median_and_those_never_found_are_left_out(annotations):
    quality = choose(annotations, cats([0.9, 0.8], []), IDS, ["bird", "cat", "dog"], None)
    cat, dog, bird = quality.thresholds
    assert [one.name for one in quality.thresholds] == list(IDS) and quality.lacking == []
    assert dog.sure == math.inf and dog.recall == 0 and math.isnan(dog.precision)
    assert (bird.sure, bird.objects) == (cat.sure, 0) and math.isnan(bird.recall)
    assert quality.ap == pytest.approx(0.2 * 101 // 1 / 101 / 2, abs=0.01)  # of cats and dogs; no bird is there


def test_classes_that_the_teacher_does_not_know_are_named(annotations):
    quality = choose(annotations, cats([0.9], []), IDS, ["cat", "horse"], None)
    assert [one.name for one in quality.thresholds] == ["cat"] and quality.lacking == ["dog", "bird"]
    assert quality.left_out == ["horse"]
    with pytest.raises(ValueError, match=r"knows \['horse'\], .* has \['cat', 'dog', 'bird'\]: no class is in both"):
        choose(annotations, {i: [] for i in range(10)}, IDS, ["horse"], None)


def test_a_teacher_that_finds_nothing(annotations):
    quality = choose(annotations, {i: [] for i in range(10)}, IDS, list(IDS), None)
    assert quality.ap == 0 and all(math.isinf(one.sure) for one in quality.thresholds)


def test_a_class_whose_boxes_are_all_wrong_has_no_threshold(annotations):
    found = cats([0.9, 0.8], [])
    found[0].append(Detection(ELSEWHERE, 0.54, "dog"))
    cat, dog, bird = choose(annotations, found, IDS, list(IDS), None).thresholds
    assert math.isinf(dog.sure) and math.isinf(dog.unsure) and bird.sure == cat.sure == 0.8


def test_the_ap_is_of_the_classes_that_the_teacher_knows(annotations):
    quality = choose(annotations, cats([0.9] * 10, []), IDS, ["cat"], None)
    assert quality.ap == pytest.approx(1.0) and quality.lacking == ["dog", "bird"]


def test_one_threshold_for_all():
    assert [(one.name, one.sure, one.unsure) for one in fixed(["a", "b"], 0.4)] == [("a", 0.4, 0.4), ("b", 0.4, 0.4)]


def test_labelled_images_without_an_object_are_refused(annotations):
    content = json.loads(annotations.read_text())
    annotations.write_text(json.dumps(dict(content, annotations=[])))
    with pytest.raises(ValueError, match=r"val.json' has no object .*: thresholds cannot be chosen. Give --val"):
        choose(annotations, cats([0.9], []), IDS, list(IDS), None)
