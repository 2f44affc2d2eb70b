"""Which detections are correct; AP of samples of the images, against pycocotools on each image as often as drawn."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pcka_mmdet.configuration.sentence import sentence
from pcka_mmdet.report.matches import RECALLS, SIZES, Box, Matches, _Ranked, mean_over_classes
from pcka_mmdet.report.page.scores import sample_images
from tests.report.cases import CLASSES, IDS, dump, random_case


@pytest.fixture
def match(tmp_path):
    """Matches of the content of both files."""

    def match(annotations, results, classes=CLASSES):
        return Matches(dump(annotations, tmp_path / "test.json"), dump(results, tmp_path / "results.json"), classes)

    return match


def by_pycocotools(annotations, results, path):
    """AP of each class by size, and COCO's AP."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(dump(annotations, path)))
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]
    order = [list(evaluation.params.catIds).index(IDS[name]) for name in CLASSES]
    sizes = {size: [precision[:, :, k, i, 2].mean() for k in order] for i, size in enumerate(SIZES)}
    return sizes, evaluation.stats[0]


def test_all_images_once(match, tmp_path):
    annotations, results = random_case()
    matches = match(annotations, results)
    once = sample_images(len(matches.images), samples=0)
    sizes, expected = by_pycocotools(annotations, results, tmp_path / "b.json")
    for size, by_class in sizes.items():
        values = matches.average_precision(once, size)
        assert values[0] == pytest.approx(np.where(np.array(by_class) < 0, np.nan, by_class), nan_ok=True)
    assert mean_over_classes(matches.average_precision(once))[0] == pytest.approx(expected)


def test_samples_of_the_images(match, tmp_path):
    annotations, results = random_case()
    matches = match(annotations, results)
    weights = sample_images(len(matches.images), samples=3, seed=5)
    values = matches.average_precision(weights)
    for sample in (1, 2, 3):
        drawn = [image for number, image in enumerate(matches.images) for _ in range(weights[sample, number])]
        again = [
            [
                dict(entry, image_id=new)
                for new, image in enumerate(drawn)
                for entry in entries
                if image == entry["image_id"]
            ]
            for entries in (annotations["annotations"], results)
        ]
        copies = dict(annotations, images=[dict(id=new) for new in range(len(drawn))])
        copies["annotations"] = [dict(entry, id=number) for number, entry in enumerate(again[0], start=1)]
        expected = by_pycocotools(copies, again[1], tmp_path / "b.json")[0]["all"]
        # not to the last digit: detections of one score, here copies, may come in another order
        assert values[sample] == pytest.approx(expected, abs=5e-3)


def test_nothing_detected_and_no_object_of_a_class(match):
    annotations, _ = random_case()
    annotations["annotations"] = [one for one in annotations["annotations"] if one["category_id"] != IDS["c"]]
    values = match(annotations, []).average_precision(sample_images(20, samples=0))
    assert values[0, :2].tolist() == [0, 0] and np.isnan(values[0, 2])
    assert mean_over_classes(values).tolist() == [0] and np.isnan(mean_over_classes(values[:, 2:])[0])


def test_a_class_that_the_annotations_lack(match):
    with pytest.raises(ValueError, match=r"test.json' has no category \['other'\]; it has \["):
        match(*random_case(), [*CLASSES, "other"])


def test_images_whose_ids_are_no_numbers(match):
    annotations, results = random_case()
    numbers = match(annotations, results)
    for image in annotations["images"]:
        image["id"] = f"img_{image['id']:02}"
    for entry in (*annotations["annotations"], *results):
        entry["image_id"] = f"img_{entry['image_id']:02}"
    names = match(annotations, results)
    assert names.images == [image["id"] for image in annotations["images"]]
    once = np.ones((1, len(names.images)), dtype=int)
    assert np.array_equal(names.average_precision(once), numbers.average_precision(once))
    assert list(names.detections(0.3).values()) == list(numbers.detections(0.3).values())


def naive(ranked, weights):
    """AP of one sample by loops over thresholds and detections."""
    objects, values = sum(w * n for w, n in zip(weights, ranked.objects.tolist(), strict=True)), []
    if not objects:
        return float("nan")
    for matched, counted in zip(ranked.matched, ranked.counted, strict=True):
        hits, seen, curve = 0, 0, []
        for image, hit, counts in zip(ranked.image, matched, counted, strict=True):
            hits, seen = hits + weights[image] * hit, seen + weights[image] * counts
            curve.append((hits / objects, hits / seen if seen else 0.0))
        values += [max((p for r, p in curve if r >= recall), default=0.0) for recall in RECALLS.tolist()]
    return sum(values) / len(values)


@pytest.mark.parametrize("detections", [0, 1, 60])
def test_against_loops_in_float64(detections):
    """Recalls such as 7 of 100 meet a threshold to the last digit; some detections are ignored at some thresholds."""
    generator = np.random.default_rng(detections)
    image = generator.integers(0, 12, detections)
    counted = generator.random((10, detections)) < 0.9
    matched = counted & (generator.random((10, detections)) < np.linspace(0.6, 0.1, 10)[:, None])
    objects = np.bincount(image, minlength=12)  # of each image at least as many as are detected
    objects[:3] += 2
    objects[3:] = np.minimum(objects[3:], 100)
    ranked = _Ranked(image, np.zeros((detections, 4)), np.zeros(detections), matched, counted, objects)
    weights = sample_images(12, samples=20, seed=1)
    weights[-1] = 0  # no object
    values = ranked.precision(weights.T.astype(np.float32))
    expected = [naive(ranked, row.tolist()) for row in weights]
    assert values == pytest.approx(np.array(expected), rel=1e-5, nan_ok=True) and np.isnan(values[-1])
    assert not detections > 1 or 0 < values[0] < 1


def case_by_hand(objects, detections):
    """Image 7; an object is class, bbox and whether it is a crowd, a detection class, bbox and score."""
    ids = [IDS[name] for name in CLASSES]
    annotations = [
        dict(image_id=7, id=1 + i, category_id=ids[label], bbox=box, area=box[2] * box[3], iscrowd=int(crowd))
        for i, (label, box, crowd) in enumerate(objects)
    ]
    categories = [dict(id=number, name=name) for name, number in IDS.items()]
    content = dict(images=[dict(id=7, file_name="a.png")], categories=categories, annotations=annotations)
    return content, [dict(image_id=7, category_id=ids[c], bbox=box, score=score) for c, box, score in detections]


def test_correct_means_right_class_right_place_and_first(match):
    objects = [(1, [0, 0, 10, 10], False), (2, [20, 0, 10, 10], False)]
    places = [(1, [0, 0, 10, 10]), (1, [0, 0, 10, 9]), (1, [20, 0, 10, 10]), (2, [40, 0, 10, 10]), (2, [21, 0, 10, 10])]
    detections = [(label, box, 0.9 - 0.1 * number) for number, (label, box) in enumerate(places)]
    matches = match(*case_by_hand(objects, detections[::-1]))
    assert matches.file_names == {7: "a.png"}
    assert matches.objects == {7: [Box([0, 0, 10, 10], 1), Box([20, 0, 10, 10], 2)]}
    assert [box.correct for box in matches.detections(0.1)[7]] == [True, False, False, False, True]  # by score
    assert matches.detections(0.85) == {7: [Box([0, 0, 10, 10], 1, 0.9)]} and matches.detections(0.95) == {7: []}


def test_a_detection_in_a_crowd_does_not_count(match):
    """As for COCO: by the share of the detection, and only where it matches no object."""
    within, half, less = [50, 50, 10, 10], [95, 0, 10, 10], [96, 0, 10, 10]
    detections = [(1, [0, 0, 10, 10], 0.9), (1, within, 0.8), (2, within, 0.7), (1, half, 0.6), (1, less, 0.5)]
    matches = match(*case_by_hand([(1, [0, 0, 10, 10], False), (1, [0, 0, 100, 100], True)], detections))
    shown = [(box.label, box.bbox, box.score, box.correct) for box in matches.detections(0)[7]]
    assert shown == [(1, [0, 0, 10, 10], 0.9, True), (2, within, 0.7, False), (1, less, 0.5, False)]
    assert len(matches.objects[7]) == 1


def test_results_that_do_not_belong_to_the_annotations(match, tmp_path):
    """The test set was changed after the test, or the test was killed."""
    annotations, results = random_case()
    with pytest.raises(ValueError, match=r"results.json. is of other images \(77, \.\.\.\): delete it to test again"):
        match(annotations, [*results, dict(results[0], image_id=77)])
    (tmp_path / "cut.json").write_text('[{"image_id": ')
    with pytest.raises(json.JSONDecodeError) as raised:
        Matches(tmp_path / "test.json", tmp_path / "cut.json", CLASSES)
    assert sentence(raised.value).startswith(f"'{tmp_path / 'cut.json'}' is no valid JSON")
