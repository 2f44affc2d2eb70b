"""Which detections are right."""

import json

import pytest
import torch

from pcka_mmdet.report.predictions import (
    Boxes,
    correct,
    detections,
    outside_crowds,
    overlap,
    read_ground_truth,
)


def test_overlap():
    assert overlap([0, 0, 4, 4], [2, 0, 6, 4]) == pytest.approx(8 / 24)
    assert overlap([0, 0, 4, 4], [4, 0, 8, 4]) == 0.0


def test_correct_means_right_class_right_place_and_first():
    true = Boxes([[0, 0, 10, 10], [20, 0, 30, 10]], [1, 2])
    found = Boxes(
        [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [40, 0, 50, 10], [21, 0, 31, 10]],
        [1, 1, 1, 2, 2],
        [0.9, 0.8, 0.7, 0.6, 0.5],
    )
    assert correct(found, true) == [True, False, False, False, True]


def test_ground_truth_by_image(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "other"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]},
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]},
            {"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]},  # of an image that is not listed
            {"image_id": 8, "category_id": 1, "bbox": [5, 5, 1, 2], "iscrowd": 1},
        ],
    }
    (tmp_path / "test.json").write_text(json.dumps(content))
    crowd = Boxes(crowds=[(0, [5, 5, 6, 7])])
    assert read_ground_truth(tmp_path / "test.json", ["cell"]) == {7: Boxes([[1, 2, 4, 6]], [0]), 8: crowd}


def test_what_is_in_a_crowd_counts_as_neither():
    """As for COCO: by the share of the detection, and only where it matches no object."""
    true = Boxes([[0, 0, 10, 10]], [1], crowds=[(1, [0, 0, 100, 100])])
    within, half, less = [50, 50, 60, 60], [95, 0, 105, 10], [96, 0, 106, 10]
    found = Boxes([[0, 0, 10, 10], within, within, half, less], [1, 1, 2, 1, 1], [0.9, 0.8, 0.7, 0.6, 0.5])
    assert outside_crowds(found, true) == Boxes([[0, 0, 10, 10], within, less], [1, 2, 1], [0.9, 0.7, 0.5])
    assert outside_crowds(found, Boxes()) == found


def test_detections_above_a_score():
    instances = dict(bboxes=torch.arange(8.0).view(2, 4), labels=torch.tensor([3, 4]), scores=torch.tensor([0.5, 0.25]))
    assert detections(dict(pred_instances=instances), 0.3) == Boxes([[0, 1, 2, 3]], [3], [0.5])
    assert detections(dict(pred_instances=instances), 0.9) == Boxes([], [], [])
