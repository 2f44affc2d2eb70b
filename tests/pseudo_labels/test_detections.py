"""Boxes of several teachers as one."""

import numpy as np
import pytest

from pcka_mmdet.pseudo_labels.detections import Detection, fuse, overlap, weighted_boxes


def test_overlaps_are_iou():
    found = overlap([(0, 0, 10, 10), (20, 20, 5, 5)], [(5, 0, 10, 10), (0, 0, 10, 10), (90, 90, 1, 1)])
    np.testing.assert_allclose(found, [[1 / 3, 1, 0], [0, 0, 0]])
    within = overlap([(0, 0, 10, 10), (20, 20, 5, 5)], [(5, 0, 10, 10), (0, 0, 40, 40)], within=True)
    assert within.tolist() == [[0.5, 1.0], [0.0, 1.0]]
    assert overlap([], [(0, 0, 1, 1)]).shape == (0, 1) and overlap([(0, 0, 1, 1)], []).shape == (1, 0)


def test_boxes_of_one_object_become_their_weighted_mean():
    first, second = Detection((0, 0, 10, 10), 0.9, "a"), Detection((1, 2, 10, 10), 0.3, "a")
    alone = Detection((50, 50, 10, 10), 0.8, "a")
    (box, score), (other, halved) = weighted_boxes([alone, second, first], teachers=2)
    assert box == pytest.approx((0.25, 0.5, 10, 10)) and score == pytest.approx(0.6)
    assert other == (50, 50, 10, 10) and halved == pytest.approx(0.4)  # one of two teachers found it


def test_a_box_joins_the_cluster_that_it_overlaps_most():
    left, right = Detection((0, 0, 10, 10), 0.9, "a"), Detection((4, 0, 10, 10), 0.8, "a")
    between = Detection((3, 0, 10, 10), 0.4, "a")  # IoU 7/13 with the left one, 9/11 with the right one
    (box, score), (joined, mean) = weighted_boxes([left, right, between], teachers=1)
    assert box == (0, 0, 10, 10) and score == 0.9
    assert joined == pytest.approx(((4 * 0.8 + 3 * 0.4) / 1.2, 0, 10, 10)) and mean == pytest.approx(0.6)


def test_more_boxes_than_teachers_raise_no_score():
    near = [Detection((0, 0, 10, 10 + i), 0.6, "a") for i in range(3)]
    ((_, score),) = weighted_boxes(near, teachers=2)
    assert score == pytest.approx(0.6)


def test_images_and_classes_are_fused_apart():
    one = {1: [Detection((0, 0, 10, 10), 0.8, "a")], 2: []}
    two = {1: [Detection((0, 0, 10, 10), 0.6, "b")], 2: [Detection((0, 0, 4, 4), 0.4, "a")]}
    assert fuse([one], ["ab"]) is one
    found = fuse([one, two], ["ab", "ab"])
    assert {(d.name, d.score) for d in found[1]} == {("a", 0.4), ("b", 0.3)}
    assert [(d.name, d.score) for d in found[2]] == [("a", 0.2)]


def test_a_teacher_that_does_not_know_a_class_lowers_no_score():
    one, two = {1: [Detection((0, 0, 10, 10), 0.8, "a")]}, {1: [Detection((0, 0, 10, 10), 0.6, "b")]}
    found = fuse([one, two], ["a", "ab"])
    assert {(d.name, d.score) for d in found[1]} == {("a", 0.4), ("b", 0.6)}


def test_boxes_without_a_score_are_fused():
    first, second = (Detection((10.0 + i, 10.0, 20.0, 20.0), 0.0, "cat") for i in range(2))
    assert weighted_boxes([first, second], teachers=2) == [((10.5, 10.0, 20.0, 20.0), 0.0)]
