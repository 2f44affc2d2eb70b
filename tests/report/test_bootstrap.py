"""AP of samples of the images, against pycocotools on a data set that holds each image as often as the sample."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pcka_mmdet.report.bootstrap import SIZES, Matches, _Ranked, _reached, mean_over_classes, sample_images
from tests.report.test_confusion import random_case

CLASSES = ("b", "a", "c")
IDS = {"a": 3, "b": 7, "c": 1}


def coco_file(truth, path):
    annotations = []
    for image, true in truth.items():
        for (x1, y1, x2, y2), label in zip(true.boxes, true.labels, strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            area, crowd = box[2] * box[3], int(x1 % 9 == 8)
            found = dict(image_id=image, category_id=IDS[CLASSES[label]], bbox=box, area=area, iscrowd=crowd)
            annotations.append(dict(found, id=len(annotations) + 1))
    categories = [dict(id=number, name=name) for name, number in IDS.items()]
    path.write_text(
        json.dumps(dict(images=[dict(id=i) for i in truth], annotations=annotations, categories=categories))
    )
    return path


def by_pycocotools(truth, predictions, path):
    """AP of each class and, in the end, of all."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(coco_file(truth, path)))
        found = []
        for p in predictions:
            rows = zip(*(p["pred_instances"][key].tolist() for key in ("bboxes", "labels", "scores")), strict=True)
            for (x1, y1, x2, y2), label, score in rows:
                box = [x1, y1, x2 - x1, y2 - y1]
                found.append(dict(image_id=p["img_id"], category_id=IDS[CLASSES[label]], bbox=box, score=score))
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]
    order = [list(evaluation.params.catIds).index(IDS[name]) for name in CLASSES]
    sizes = {size: [precision[:, :, k, i, 2].mean() for k in order] for i, size in enumerate(SIZES)}
    return sizes, evaluation.stats[0]


def test_all_images_once(tmp_path):
    truth, predictions = random_case()
    matches = Matches(coco_file(truth, tmp_path / "a.json"), predictions, CLASSES)
    once = sample_images(len(matches.images), samples=0)
    sizes, whole = by_pycocotools(truth, predictions, tmp_path / "b.json")
    assert len(matches.images) == 20 and 0 < whole < 1
    for size, expected in sizes.items():
        found = matches.average_precision(once, size)[0]
        assert np.where(np.isnan(found), -1, found) == pytest.approx(expected)
    assert mean_over_classes(matches.average_precision(once))[0] == pytest.approx(whole)


def test_a_sample_is_a_data_set_with_copies(tmp_path):
    truth, predictions = random_case()
    matches = Matches(coco_file(truth, tmp_path / "a.json"), predictions, CLASSES)
    weights = sample_images(len(matches.images), samples=3, seed=5)
    found = matches.average_precision(weights)
    for sample in (1, 2, 3):
        copies = [(i, number) for number, image in enumerate(matches.images) for i in [image] * weights[sample, number]]
        again = {n: truth[i] for n, (i, _) in enumerate(copies)}
        theirs = [dict(predictions[number], img_id=n) for n, (_, number) in enumerate(copies)]
        expected = by_pycocotools(again, theirs, tmp_path / "b.json")[0]["all"]
        # not to the last digit: detections of one score, here copies, may come in another order
        assert found[sample] == pytest.approx(expected, abs=5e-3)


def test_nothing_detected_and_no_object_of_a_class(tmp_path):
    truth, predictions = random_case()
    for true in truth.values():
        true.labels = [min(label, 1) for label in true.labels]
    nothing = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long(), scores=torch.zeros(0))
    predictions = [dict(p, pred_instances=nothing) for p in predictions]
    matches = Matches(coco_file(truth, tmp_path / "a.json"), predictions, CLASSES)
    found = matches.average_precision(sample_images(20, samples=0))
    assert found[0, :2].tolist() == [0, 0] and np.isnan(found[0, 2])
    assert mean_over_classes(found).tolist() == [0] and np.isnan(mean_over_classes(found[:, 2:])[0])


def test_a_class_that_the_annotations_lack(tmp_path):
    truth, predictions = random_case()
    with pytest.raises(ValueError, match=r"a.json' has no category \['other'\]; it has \["):
        Matches(coco_file(truth, tmp_path / "a.json"), predictions, [*CLASSES, "other"])


def test_images_whose_ids_are_no_numbers(tmp_path):
    truth, predictions = random_case()
    numbers = Matches(coco_file(truth, tmp_path / "a.json"), predictions, CLASSES)
    named = {f"img_{image:02}": true for image, true in truth.items()}
    theirs = [dict(p, img_id=f"img_{p['img_id']:02}") for p in predictions]
    names = Matches(coco_file(named, tmp_path / "b.json"), theirs, CLASSES)
    assert names.images == list(named)
    once = np.ones((1, len(named)), dtype=int)
    assert np.array_equal(names.average_precision(once), numbers.average_precision(once))


def naive(ranked, weights, recalls):
    """AP of one sample by loops over thresholds and detections."""
    objects, values = sum(w * n for w, n in zip(weights, ranked.objects.tolist(), strict=True)), []
    if not objects:
        return float("nan")
    for right, counted in zip(ranked.right, ranked.counted, strict=True):
        hits, seen, curve = 0, 0, []
        for image, hit, counts in zip(ranked.image, right, counted, strict=True):
            hits, seen = hits + weights[image] * hit, seen + weights[image] * counts
            curve.append((hits / objects, hits / seen if seen else 0.0))
        values += [max((p for r, p in curve if r >= recall), default=0.0) for recall in recalls.tolist()]
    return sum(values) / len(values)


@pytest.mark.parametrize("detections", [0, 1, 60])
def test_against_loops_in_float64(detections):
    """Recalls such as 7 of 100 meet a threshold to the last digit; some detections are ignored at some thresholds."""
    generator = np.random.default_rng(detections)
    image = generator.integers(0, 12, detections)
    counted = generator.random((10, detections)) < 0.9
    right = counted & (generator.random((10, detections)) < np.linspace(0.6, 0.1, 10)[:, None])
    objects = np.bincount(image, minlength=12)  # of each image at least as many as are found
    objects[:3] += 2
    objects[3:] = np.minimum(objects[3:], 100)
    ranked = _Ranked(image, right, counted, objects)
    weights, recalls = sample_images(12, samples=20, seed=1), np.linspace(0, 1, 101)
    weights[-1] = 0  # no object
    found = ranked.precision(weights.T.astype(np.float32), recalls)
    expected = [naive(ranked, row.tolist(), recalls) for row in weights]
    assert found == pytest.approx(np.array(expected), rel=1e-5, nan_ok=True) and np.isnan(found[-1])
    assert not detections > 1 or 0 < found[0] < 1


def test_recall_thresholds_are_met_as_pycocotools_meets_them():
    """`numpy.linspace` has 0.35 a digit above 35 / 100, which therefore does not reach it."""
    recalls = np.linspace(0, 1, 101)
    recall = np.array([number / objects for objects in (3, 7, 20, 100, 200) for number in range(objects + 1)])
    assert recalls[35] > 0.35
    assert _reached(recall, recalls).tolist() == np.searchsorted(recalls, recall, side="right").tolist()


def test_samples():
    weights = sample_images(7, samples=4)
    assert weights.shape == (5, 7) and weights[0].tolist() == [1] * 7 and (weights.sum(1) == 7).all()
    assert np.array_equal(weights, sample_images(7, samples=4))
