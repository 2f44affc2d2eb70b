"""Boxes, digits and colours of single scenes; resizing; and that files are the same on every machine."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from pcka_mmdet.demo import CLASSES, SPLITS, digits, scenes
from pcka_mmdet.demo.reproducible import ONE, _weights, resize
from pcka_mmdet.demo.scenes import compose

SAMPLE = [(split, index) for split in SPLITS for index in range(24)]
ANNOTATIONS = "0ae403368b351d782aeaf3e21bcb0a19724dbeda80cec28e90e7f08ac37a5d16"
PIXELS = "760d1e5a2a5178784979fdecdc25fd9c2ae82f55c0de9668a0eacb0b780516c8"


@pytest.fixture(scope="module")
def sample():
    return [compose(0, split, index) for split, index in SAMPLE]


def test_boxes_are_those_of_the_visible_pixels(sample):
    """Naive reference: walk over every pixel of every mask."""
    for scene in sample:
        for mask, box in zip(scene.masks, scene.boxes, strict=True):
            points = [(x, y) for y, row in enumerate(mask.tolist()) for x, inside in enumerate(row) if inside]
            left, top = (min(point[axis] for point in points) for axis in (0, 1))
            right, bottom = (max(point[axis] for point in points) + 1 for axis in (0, 1))
            assert box.tolist() == [left, top, right - left, bottom - top]
            assert 0 <= left < right <= 128 and 0 <= top < bottom <= 128


def test_masks_are_where_the_digits_were_painted(monkeypatch):
    """The pixels tell: painted opaque in a colour of its own, each digit shows exactly where its mask says."""
    colours = []

    def paint(stream, image, alpha):
        colours.append(len(colours) + 1)
        image = image.copy()
        image[alpha > 0.5] = colours[-1]
        return image

    monkeypatch.setattr(scenes, "_paint", paint)
    monkeypatch.setattr(
        scenes, "_background", lambda *args: (np.zeros((128, 128, 3), np.uint8), scenes.Region(0, 0, 1, 1))
    )
    for index in range(10):
        colours.clear()
        scene = compose(0, "train", index)
        for colour, mask in zip(colours, scene.masks, strict=True):
            np.testing.assert_array_equal(scene.image[..., 0] == colour, mask)


def test_an_occluded_digit_stays_visible(monkeypatch):
    """Of every digit at least 60 % of the pixels of the whole one remain, the border included."""
    whole = []
    place = scenes._place
    monkeypatch.setattr(scenes, "_place", lambda *args: whole.append(place(*args)) or whole[-1])
    occluded = 0
    for index in range(40):
        whole.clear()
        scene = compose(0, "test", index)
        masks = [(alpha > 0.5, area) for alpha, area in whole]
        for mask in scene.masks:
            candidates = [area for full, area in masks if (mask <= full).all() and mask.sum() >= 0.6 * area]
            assert candidates
            occluded += mask.sum() < min(candidates)
    assert occluded > 10  # or the rule was never put to the test


def test_numbers_and_sizes_of_digits(sample):
    counts = [len(scene.labels) for scene in sample]
    assert min(counts) >= 2 and max(counts) <= 8 and 3.5 < np.mean(counts) < 4.5
    heights = np.concatenate([scene.boxes[:, 3] for scene in sample])
    assert heights.min() >= 8 and heights.max() <= 70 and np.percentile(heights, 90) > 40 and np.median(heights) < 35


def test_labels_are_those_of_the_digits(sample):
    for scene in sample:
        np.testing.assert_array_equal(scene.labels, digits.load()[1][scene.digits])


def test_every_class_occurs_about_equally_often():
    pool = digits.indices("train")
    drawn = np.concatenate(
        [digits.load()[1][scenes._layout(scenes.Stream(0, 0, i, 0), "train", 128)[0]] for i in range(150)]
    )
    counts = np.bincount(drawn, minlength=len(CLASSES))
    assert len(pool) > 1000 and counts.min() > 0.5 * counts.mean() and counts.max() < 1.5 * counts.mean()


def test_digits_stand_out_from_what_is_around_them(sample):
    """At least 20 of 255 levels of lightness between a digit and the ring around it, or a strong colour."""
    for scene in sample:
        image = scene.image.astype(float)
        anything = scene.masks.any(axis=0)
        for mask, (x, y, width, height) in zip(scene.masks, scene.boxes, strict=True):
            around = np.zeros_like(mask)
            around[max(0, y - 3) : y + height + 3, max(0, x - 3) : x + width + 3] = True
            ring = around & ~anything
            if ring.sum() > 20:
                assert np.abs(image[mask].mean(axis=0) - image[ring].mean(axis=0)).max() > 20


@pytest.mark.parametrize("height", [14, 31, 56])
@pytest.mark.parametrize("degrees", [-20.0, 0.0, 13.0])
def test_a_digit_has_the_size_that_was_asked_for(height, degrees):
    ink = digits.load()[0]
    for index in range(0, 1797, 40):
        mask = digits.render(ink[index], height, degrees) > 0.5
        rows = np.flatnonzero(mask.any(axis=1))
        assert 0.6 * height < rows[-1] - rows[0] + 1 < 1.35 * height + 2


def test_a_digit_is_drawn_like_a_naive_interpolation():
    """Catmull-Rom's kernel written out for one pixel at a time, unrotated, at the scale where pixels fall on knots."""
    ink = digits.load()[0][5]

    def kernel(t):
        t = abs(t)
        return 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    position = np.array([[2.3, 4.9], [-0.4, 7.7]])
    expected = [
        [sum(ink[i, j] * kernel(p - 0.5 - i) * kernel(q - 0.5 - j) for i in range(8) for j in range(8)) for q in row]
        for p, row in zip((1.7, 6.2), position, strict=True)
    ]
    found = digits._interpolate(ink, np.array([[1.7, 1.7], [6.2, 6.2]]), position)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_no_alpha_is_near_the_threshold():
    alpha = digits.render(digits.load()[0][0], 40, 7.0)
    np.testing.assert_array_equal(alpha * 255, np.rint(alpha * 255))
    assert np.abs(alpha - 0.5).min() > 1 / 511


@pytest.mark.parametrize(("length", "size"), [(64, 128), (100, 128), (128, 128), (320, 128), (307, 64)])
def test_resize_agrees_with_pillow(length, size):
    image = np.random.RandomState(0).randint(0, 256, (length, length, 3)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resize(image, size).astype(int) - expected).max() <= 1
    assert np.all(_weights(length, size).sum(axis=1) == ONE)


def test_a_scene_depends_on_its_own_number_alone():
    order = [5, 0, 9, 3]
    first = {index: compose(3, "val", index) for index in order}
    for index in sorted(order):
        again = compose(3, "val", index)
        np.testing.assert_array_equal(again.image, first[index].image)
        np.testing.assert_array_equal(again.boxes, first[index].boxes)
    assert not np.array_equal(compose(4, "val", 5).image, first[5].image)
    assert not np.array_equal(compose(3, "test", 5).image, first[5].image)


def test_annotations_do_not_depend_on_the_photographs(monkeypatch, sample):
    load = scenes.photographs.load
    monkeypatch.setattr(scenes.photographs, "load", lambda name: 255 - load(name))
    for (split, index), scene in zip(SAMPLE[:10], sample, strict=False):
        np.testing.assert_array_equal(compose(0, split, index).masks, scene.masks)


@pytest.mark.parametrize("size", [64, 100, 200])
def test_other_image_sizes(size):
    scene = compose(0, "train", 3, size)
    assert scene.image.shape == (size, size, 3) and scene.masks.shape[1:] == (size, size) and len(scene.labels) >= 2


def test_checksum_of_the_annotations(small_set):
    """The files, byte for byte. Raise `digit_scenes.VERSION` with this number."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update((small_set.root / "annotations" / f"{split}.json").read_bytes())
    assert digest.hexdigest() == ANNOTATIONS


def test_checksum_of_the_pixels(small_set):
    """If this fails and the annotations' does not, a photograph or the decoder of JPEG files has changed."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(small_set.pixels(split).tobytes())
    assert digest.hexdigest() == PIXELS
