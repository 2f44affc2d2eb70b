"""The page of a report: from runs in memory, and opened in a browser."""

import json
import re

import numpy as np
import pytest
from mmengine.config import Config

from pcka_mmdet.report.bootstrap import Estimate, Matches, mean_over_classes
from pcka_mmdet.report.page.changes import largest
from pcka_mmdet.report.page.charts import svg
from pcka_mmdet.report.page.gains import compare
from pcka_mmdet.report.page.page import differences, headline, judge, write_page
from pcka_mmdet.report.page.run import RESULTS, Run, coco_evaluator
from tests.report.browser import AVAILABLE, browser
from tests.report.test_bootstrap import CLASSES, IDS, coco_file
from tests.report.test_confusion import random_case

LOG = "2026/01/01 00:00:00 - mmengine - INFO - command: tools/train.py <x>.py\n"


def work_dir(folder, annotations, seed=0, shift=0.0, distils=False, keep=1.0):
    """A work directory whose student finds the objects, moved by so many pixels, with so many of its scores."""
    import cv2

    truth, _ = random_case()
    results = []
    for image, true in truth.items():
        for number, ((x1, y1, x2, y2), label) in enumerate(zip(true.boxes, true.labels, strict=True)):
            if (image + number + seed) % 10 < 10 * keep:
                box = [x1 + shift, y1, x2 - x1, y2 - y1]
                results.append(
                    dict(image_id=image, category_id=IDS[CLASSES[label]], bbox=box, score=0.9 - 0.1 * number)
                )
    (folder / "test").mkdir(parents=True)
    (folder / RESULTS).write_text(json.dumps(results))
    (folder / "images").mkdir()
    for image in truth:
        cv2.imwrite(str(folder / "images" / f"{image}.png"), np.full((120, 120, 3), 200, dtype=np.uint8))
    log = folder / "20260101_000000"
    (log / "vis_data").mkdir(parents=True)
    (log / "20260101_000000.log").write_text(LOG)
    prefix = "student." if distils else ""
    records = [{f"{prefix}loss_cls": 1 / i, "time": 0.1, "iter": i, "epoch": i, "step": i} for i in (1, 2)]
    if distils:
        records[0] |= {"similarity.cka_s8": 0.4}
    records.append({"coco/bbox_mAP": 0.3, "step": 2})
    (log / "vis_data" / "scalars.json").write_text("".join(json.dumps(record) + "\n" for record in records))
    student = Config.fromfile("configs/demo/student.py").model
    model = dict(type="pcka_mmdet.FPNDistill", architecture=student, balance=dict(ratio=1.0)) if distils else student
    dataset = dict(
        type="CocoDataset",
        ann_file=str(annotations),
        data_root=str(folder),
        data_prefix=dict(img="images/"),
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(type="Resize", scale=(128, 128))],
    )
    config = dict(model=model, randomness=dict(seed=seed), test_dataloader=dict(dataset=dataset), default_scope="mmdet")
    config["test_evaluator"] = [dict(type="DumpResults"), dict(type="mmdet.CocoMetric", ann_file=str(annotations))]
    Config(config).dump(folder / "config.py")
    (folder / "20260102_000000.py").write_text("model = dict(type='RetinaNet')")  # of a test
    if distils:
        (folder / "student_config.py").write_text("model = dict(type='RetinaNet')")
    return Run.read(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of a student that misses objects, two that misses fewer, and a teacher."""
    folder = tmp_path_factory.mktemp("runs")
    truth, _ = random_case()
    annotations = coco_file(truth, folder / "annotations.json")
    content = json.loads(annotations.read_text())
    for image in content["images"]:
        image["file_name"] = f"{image['id']}.png"
    annotations.write_text(json.dumps(content))
    plain = [work_dir(folder / f"plain{seed}", annotations, seed, keep=0.5) for seed in (0, 1)]
    distilled = [work_dir(folder / f"distilled{seed}", annotations, seed, keep=0.8, distils=True) for seed in (0, 1)]
    return plain, distilled, work_dir(folder / "teacher", annotations)


def test_the_gain_is_of_the_means_over_seeds(runs):
    plain, distilled, teacher = runs
    gains = compare(plain, distilled)
    means = [np.mean([run.average_precision for run in group]) for group in (plain, distilled)]
    assert (gains.whole.plain.value, gains.whole.distilled.value) == pytest.approx(tuple(means))
    assert gains.whole.difference.value == pytest.approx(means[1] - means[0]) and gains.whole.difference.low > 0
    assert [gain.name for gain in gains.classes] == list(CLASSES) and gains.seeds.mean == pytest.approx(
        means[1] - means[0]
    )
    weights = np.ones((1, 20))
    for index, gain in enumerate(gains.classes):
        values = [run.matches.average_precision(weights)[0, index] for run in distilled]
        assert gain.distilled.value == pytest.approx(np.mean(values))
    assert teacher.average_precision > means[1]


def test_trainings_without_seeds_are_paired_in_their_order(runs):
    plain, distilled, _ = runs
    by_seed = compare(plain, distilled)
    for run in (*plain, *distilled):
        run.config.randomness = dict(seed=None)
    try:
        gains = compare(plain, distilled)
    finally:
        for seed, run in enumerate((*plain, *distilled)):
            run.config.randomness = dict(seed=seed % 2)
    assert (by_seed.by_seed, gains.by_seed) == (True, False) and gains.seeds == by_seed.seeds
    assert "over trainings, paired in the order given since their configs set no seeds)." in headline(gains, None, 2)
    assert "over seeds)." in headline(by_seed, None, 2)


def test_runs_on_other_images_are_refused(runs, tmp_path):
    truth, _ = random_case(images=5)
    other = work_dir(tmp_path / "other", coco_file({i: truth[i % 5] for i in range(20, 40)}, tmp_path / "a.json"))
    (other.folder / RESULTS).write_text("[]")
    with pytest.raises(ValueError, match="other' was tested on other images or classes than"):
        compare([other], runs[1])


def test_results_are_read_for_every_image(runs):
    run = runs[0][0]
    assert [p["img_id"] for p in run.detections] == list(range(20))
    assert all((np.diff(p["pred_instances"]["scores"]) <= 0).all() for p in run.detections)
    once = mean_over_classes(Matches(run.annotations, run.detections, CLASSES).average_precision(np.ones((1, 20))))
    assert once[0] == pytest.approx(run.average_precision)


def test_what_the_report_cannot_read():
    place, metric = coco_evaluator(Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="a.json"))))
    assert (place, metric["ann_file"]) == ("test_evaluator", "a.json")
    with pytest.raises(
        ValueError, match=r"needs a CocoMetric with an ann_file in test_evaluator, and there is \['VOCM"
    ):
        coco_evaluator(Config(dict(test_evaluator=dict(type="VOCMetric"))))


def test_images_of_largest_change(runs):
    plain, distilled, _ = runs
    better, worse = largest(plain[0], distilled[0])
    assert len(better) == 3 and better[0].gain >= better[1].gain >= better[2].gain > 0 and worse == []
    change = better[0]
    assert change.objects == 4 and change.right[1] - change.right[0] - change.wrong[1] + change.wrong[0] == change.gain
    assert [c.gain for c in largest(distilled[0], plain[0])[1]] == [-c.gain for c in better]


def test_what_a_difference_means():
    assert judge(Estimate(0.02, 0.01, 0.03))[1] == "good"
    assert judge(Estimate(-0.02, -0.03, -0.01))[1] == "bad"
    assert judge(Estimate(0.0, -0.01, 0.01))[0].startswith("No clear difference")


def test_configs_differ_by_the_distillation_alone(runs):
    plain, distilled, _ = runs
    rows = differences(plain[0].config.to_dict(), distilled[0].config.to_dict())
    keys = [key for key, *_ in rows]
    assert "distillation.balance.ratio" in keys and not [key for key in keys if key.startswith("model.")]
    changed = dict(distilled[0].config.to_dict(), randomness=dict(seed=5))
    assert ("randomness.seed", "0", "5") in differences(plain[0].config.to_dict(), changed)


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_page(*runs, out)
    return out


def test_one_file_with_all_that_it_shows(page):
    text = page.read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text.replace('xlink:href="#', "")) and "<script" not in text
    assert text.count("<svg") == 7 and text.count('role="img"') == 7  # four figures, three images
    assert "command" not in text and "tools/train.py &lt;x&gt;.py" in text  # escaped
    assert "over seeds" in text and "The teacher reaches" in text
    found = {path.name for path in page.parent.glob("*.png")}
    assert found == {f"report_{name}.png" for name in ("curves", "classes", "sizes", "confusion")}


@pytest.mark.skipif(not AVAILABLE, reason="chromium and chromedriver are not installed")
def test_in_a_browser(page):
    with browser() as tab:
        tab.open(page)
        shown = "getComputedStyle(document.querySelector('.picture .layer-{}')).display"
        assert tab.run(shown.format("plain")) == "none" and tab.run(shown.format("distilled")) != "none"
        tab.click(".picture .plain")
        tab.click(".picture label[for$=d]")
        assert tab.run(shown.format("plain")) != "none" and tab.run(shown.format("distilled")) == "none"
        tab.click("details summary")
        assert tab.run("document.querySelector('details').open") is True
        assert tab.run("[...document.images].every(i => i.complete)") is True
        assert tab.run("document.querySelectorAll('h1').length") == 1
        assert tab.errors() == []


@pytest.mark.skipif(not AVAILABLE, reason="chromium and chromedriver are not installed")
def test_on_a_phone_nothing_is_wider_than_the_screen(page):
    with browser(500, 800) as tab:
        tab.open(page)
        assert tab.run("document.documentElement.scrollWidth <= window.innerWidth") is True


def test_black_is_replaced_as_a_colour_alone():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().set_title("black-rook")
    drawn = svg(figure, "a figure")
    assert "black-rook" in drawn and "currentColor" in drawn and "#000000" not in drawn
