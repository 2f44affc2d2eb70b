"""Annotations from detections."""

import math
from pathlib import Path

import pytest

from pcka_mmdet.configuration.images import ImageSet
from pcka_mmdet.pseudo_labels.annotate import annotate
from pcka_mmdet.pseudo_labels.detections import Detection
from pcka_mmdet.pseudo_labels.thresholds import Threshold

IMAGES = ImageSet("some", Path(), [dict(id=n, file_name=f"{n}.jpg", width=100, height=50) for n in (1, 2, 3)])
THRESHOLDS = [
    Threshold("cat", 0.6, 0.3, 0.9, 0.8, 12),
    Threshold("dog", math.inf, math.inf, math.nan, 0.0, 3),
]
IDS = {"cat": 4, "dog": 8, "bird": 9}


def made(*found: Detection) -> tuple[dict, object]:
    return annotate(IMAGES, {1: list(found), 2: [], 3: []}, THRESHOLDS, IDS, dict(teachers="x"))


def test_sure_boxes_are_objects_and_unsure_ones_are_ignored():
    content, counts = made(
        Detection((10, 10, 20, 20), 0.61234, "cat"),
        Detection((60, 10, 20, 20), 0.59, "cat"),
        Detection((60, 10, 20, 20), 0.29, "cat"),
        Detection((80, 10, 10, 10), 0.99, "dog"),  # no score of dogs is good enough
        Detection((80, 10, 10, 10), 0.99, "bird"),  # a class without a threshold
    )
    sure, unsure = content["annotations"]
    assert sure == dict(id=1, image_id=1, category_id=4, bbox=[10, 10, 20, 20], area=400, iscrowd=0, score=0.6123)
    assert (unsure["iscrowd"], unsure["score"], unsure["id"]) == (1, 0.59, 2)
    assert content["categories"] == [dict(id=4, name="cat"), dict(id=8, name="dog"), dict(id=9, name="bird")]
    assert content["images"] == IMAGES.entries and content["info"] == dict(teachers="x")
    assert (counts.images, counts.sure, counts.unsure, counts.empty) == (3, dict(cat=1, dog=0, bird=0), 1, 2)


def test_an_image_with_unsure_boxes_alone_counts_as_one_without_a_box():
    _, counts = made(Detection((60, 10, 20, 20), 0.59, "cat"))
    assert (counts.unsure, counts.empty) == (1, 3)


def test_boxes_are_cut_to_their_image():
    content, _ = made(Detection((-5, 40, 20, 30), 0.9, "cat"), Detection((99.5, 10, 20, 20), 0.9, "cat"))
    (only,) = content["annotations"]  # the other one has half a pixel left
    assert only["bbox"] == [0, 40, 15, 10] and only["area"] == pytest.approx(150)


@pytest.mark.parametrize("unsure", [(11, 11, 20, 20), (0, 0, 50, 50)], ids=["equal", "around"])
def test_an_unsure_box_that_would_hide_a_sure_one_is_left_out(unsure):
    """An anchor of the sure box that is half within an ignored one is ignored, however large that is."""
    content, counts = made(Detection((10, 10, 20, 20), 0.9, "cat"), Detection(unsure, 0.5, "cat"))
    assert [one["iscrowd"] for one in content["annotations"]] == [0] and counts.unsure == 0
