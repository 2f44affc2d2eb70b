"""The page of a report: from runs in memory."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from mmengine.config import Config

from pcka_mmdet.configuration.installed import releases
from pcka_mmdet.report.bootstrap import Matches, mean_over_classes
from pcka_mmdet.report.page import charts, tables
from pcka_mmdet.report.page.changes import draw, largest
from pcka_mmdet.report.page.charts import svg
from pcka_mmdet.report.page.page import write_page
from pcka_mmdet.report.page.scores import score, with_partners
from pcka_mmdet.report.page.tables import differences
from pcka_mmdet.report.page.words import DISTILLED, STUDENT, TEACHER, apart, headline
from pcka_mmdet.report.run import RESULTS, Run, coco_evaluator
from tests.report.conftest import work_dir
from tests.report.test_bootstrap import CLASSES, coco_file
from tests.report.test_confusion import random_case


def test_the_gain_is_of_the_means_over_seeds(runs):
    plain, distilled, teacher = runs
    scores = score([plain, distilled])
    means = [np.mean([run.average_precision for run in side]) for side in (plain, distilled)]
    whole = scores.whole
    assert [found.value for found in whole.sides] == pytest.approx(means)
    assert whole.difference.value == pytest.approx(means[1] - means[0]) and whole.difference.low > 0
    assert [found.name for found in scores.classes] == list(CLASSES)
    assert (scores.over, scores.trainings, scores.paired) == ("seeds and test images", 2, True)
    alone = score([plain[:1], distilled[:1]])
    assert (alone.over, alone.trainings) == ("test images", 1)
    assert whole.difference.high - whole.difference.low > alone.whole.difference.high - alone.whole.difference.low
    weights = np.ones((1, 20))
    for index, found in enumerate(scores.classes):
        values = [run.matches.average_precision(weights)[0, index] for run in distilled]
        assert found.sides[1].value == pytest.approx(np.mean(values)) and found.shown is found.difference
    assert scores.teacher is None and teacher.average_precision > means[1]
    found = score([plain, distilled], teacher).teacher
    assert found.value == pytest.approx(teacher.average_precision) and found.low <= found.value <= found.high


def test_a_side_alone_has_no_difference(runs):
    both, alone = score(runs[:2]), score(runs[1:2])
    assert alone.whole.sides == both.whole.sides[1:] and alone.whole.shown is alone.whole.sides[0]
    assert alone.whole.difference is None and alone.over == "seeds and test images"
    assert [found.name for found in alone.classes] == list(CLASSES)


@pytest.mark.parametrize("seeds, by_seed", [([None] * 4, False), ([0, 1, 2, 3], True)], ids=["none", "not common"])
def test_trainings_without_common_seeds_are_not_paired(runs, seeds, by_seed, monkeypatch):
    plain, distilled, _ = runs
    sides = {STUDENT: plain, DISTILLED: distilled}
    paired = score([plain, distilled])
    for run, seed in zip((*plain, *distilled), seeds, strict=True):
        monkeypatch.setitem(run.config._cfg_dict, "randomness", dict(seed=seed))
    scores = score([plain, distilled])
    assert (paired.paired, scores.paired, scores.by_seed) == (True, False, by_seed)
    over = "seeds and test images" if by_seed else "trainings and test images"
    assert f"over {over}, which have no common seeds to be paired by)." in headline(sides, scores)
    assert "over seeds and test images)." in headline(sides, paired)
    values = [[run.average_precision for run in side] for side in (distilled, plain)]
    assert scores.whole.difference.value == pytest.approx(np.mean(values[0]) - np.mean(values[1]))


def test_trainings_of_two_methods_are_no_seeds(runs, monkeypatch):
    plain, distilled, _ = runs
    monkeypatch.setitem(distilled[1].config._cfg_dict, "optim_wrapper", dict(optimizer=dict(lr=7)))
    scores = score([plain, distilled])
    assert not scores.by_seed
    sides = {STUDENT: plain, DISTILLED: distilled}
    assert "the mean over 2 trainings, " in headline(sides, scores)
    found = apart(sides)
    assert found == {STUDENT: plain, **{str(run.folder): [run] for run in distilled}}
    curves, unit = charts.along(found)
    drawn = [line.get_color() for line in charts.lines("precision", curves["precision"], unit).axes[0].get_lines()]
    assert len(drawn) == 4 and len(set(drawn)) == 3 and drawn[0] == drawn[1]  # the student's two seeds


def test_runs_on_other_images_are_refused(runs, tmp_path):
    truth, _ = random_case(images=5)
    other = work_dir(tmp_path / "other", coco_file({i: truth[i % 5] for i in range(20, 40)}, tmp_path / "a.json"))
    (other.folder / RESULTS).write_text("[]")
    with pytest.raises(ValueError, match="other' was tested on other images, classes or objects than"):
        write_page([other], runs[1], None, tmp_path / "report.html")
    with pytest.raises(ValueError, match="other' was tested on other images, classes or objects than"):
        write_page([], runs[1], other, tmp_path / "report.html")


def test_runs_on_other_objects_are_refused(runs, tmp_path):
    """Files of two splits may number their images alike."""
    truth = runs[0][0].truth
    other = work_dir(tmp_path / "other", coco_file({i: truth[(i + 1) % 20] for i in truth}, tmp_path / "a.json"))
    with pytest.raises(ValueError, match="other' was tested on other images, classes or objects than"):
        write_page([other], runs[1], None, tmp_path / "report.html")


def test_a_teacher_without_a_log(runs, tmp_path):
    """Its folder has a test alone; the others' curves are by epochs."""
    plain, distilled, teacher = runs
    folder = shutil.copytree(teacher.folder, tmp_path / "teacher", ignore=shutil.ignore_patterns("2026*"))
    unlogged = Run(folder, teacher.config)
    assert unlogged.records == []
    sides = {TEACHER: [unlogged], STUDENT: plain, DISTILLED: distilled}
    curves, unit = charts.along(sides)
    table = tables.ends(sides, curves)
    assert unit == "epoch" and len(table.rows) == 5
    assert table.header[-1] == "best AP on val" and [row[-1] for row in table.rows] == ["", *["0.300 at 2"] * 4]


def test_a_curve_of_one_record_is_seen():
    axes = charts.lines("loss", {STUDENT: [([1.0], [2.0])], DISTILLED: [([1.0, 2.0], [2.0, 1.0])]}, "epoch").axes[0]
    assert [line.get_marker() for line in axes.get_lines()] == ["o", "None"]


def test_seeds_without_a_partner_are_left_out(runs):
    plain, distilled, _ = runs
    assert with_partners([plain[:1], distilled]) == ([plain[:1], distilled[:1]], [1])
    assert with_partners([plain, distilled]) == ([plain, distilled], [])
    assert with_partners([distilled]) == ([distilled], [])


def test_results_are_read_for_every_image(runs):
    run = runs[0][0]
    assert [p["img_id"] for p in run.detections] == list(range(20))
    assert all((np.diff(p["pred_instances"]["scores"]) <= 0).all() for p in run.detections)
    once = mean_over_classes(Matches(run.annotations, run.detections, CLASSES).average_precision(np.ones((1, 20))))
    assert once[0] == pytest.approx(run.average_precision)


def test_what_the_report_cannot_read():
    place, metric = coco_evaluator(Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="a.json"))))
    assert (place, metric["ann_file"]) == ("test_evaluator", "a.json")
    needed = r"needs a CocoMetric with an ann_file and metric='bbox' in test_evaluator, and there is \[\('"
    with pytest.raises(ValueError, match=f"{needed}VOCMetric'"):
        coco_evaluator(Config(dict(test_evaluator=dict(type="VOCMetric"))))
    masks = dict(type="CocoMetric", ann_file="a.json", metric="segm")
    with pytest.raises(ValueError, match=f"{needed}CocoMetric', 'segm'"):
        coco_evaluator(Config(dict(test_evaluator=masks)))
    both = [masks, dict(masks, metric=["bbox", "segm"])]
    assert coco_evaluator(Config(dict(test_evaluator=both)))[0] == "test_evaluator.1"
    assert coco_evaluator(Config(dict(test_evaluator=dict(metrics=both))))[0] == "test_evaluator.metrics.1"
    alone = dict(metrics=dict(masks, metric="bbox"))
    assert coco_evaluator(Config(dict(test_evaluator=alone)))[0] == "test_evaluator.metrics"


def test_images_of_largest_change(runs):
    one, other = runs[0][0], runs[1][0]
    better, worse = largest([one, other])
    assert len(better) == 3 and better[0].gain >= better[1].gain >= better[2].gain > 0 and worse == []
    change = better[0]
    (right, wrong), (right_now, wrong_now) = change.found
    assert change.objects == 4 and right_now - right - wrong_now + wrong == change.gain
    assert [c.gain for c in largest([other, one])[1]] == [-c.gain for c in better]
    pictures = draw([one, other], change, runs[2])
    layers = [dict(re.findall(r'class="layer-(\w+)">(.*?)</g>', picture)) for picture in pictures]
    boxes = [{name: layer.count("<rect") for name, layer in found.items()} for found in layers]
    assert boxes[0] == {"truth": 4, "teacher": 4, "run": right + wrong} and right < right_now
    assert boxes[1] == {"truth": 4, "teacher": 4, "run": right_now + wrong_now}
    assert [picture.count("data:image/jpeg") for picture in pictures] == [1, 0]
    (pixels,) = re.findall(r'<image id="([^"]+)"', pictures[0])
    assert f'<use href="#{pixels}"/>' in pictures[1]
    assert "%</text>" in layers[0]["run"] and "%" not in layers[0]["truth"] and ">teacher " in layers[0]["teacher"]


def test_images_of_most_errors_of_a_run_alone(runs):
    better, worse = largest([runs[0][0]])
    assert better == [] and len(worse) == 3 and worse[0].gain <= worse[1].gain <= worse[2].gain < 0
    ((right, wrong),) = worse[0].found
    assert worse[0].gain == right - wrong - worse[0].objects
    (drawn,) = draw([runs[0][0]], worse[0])
    assert re.findall(r'class="layer-(\w+)"', drawn) == ["truth", "run"]


def test_configs_differ_by_the_distillation_alone(runs):
    configs = [run.config.to_dict() for run in (runs[0][0], runs[1][0])]
    table = differences([STUDENT, DISTILLED], configs)
    keys = [row[0] for row in table.rows]
    assert "distillation.balance.ratio" in keys and not [key for key in keys if key.startswith("model.")]
    assert table.header == ["setting", "student alone", "distilled student"]
    changed = [configs[0], dict(configs[1], randomness=dict(seed=5))]
    assert ["randomness.seed", "0", "5"] in differences([STUDENT, DISTILLED], changed).rows


def test_a_confusion_matrix_in_words():
    table = tables.confusions(STUDENT, np.array([[6, 3, 1], [0, 4, 4], [2, 5, 0]]), ("cat", "dog"))
    assert table.rows == [["cat", "60 %", "10 %", "dog, 30 %", "2"], ["dog", "50 %", "50 %", "none", "5"]]


def test_columns_that_nobody_knows_are_left_out(runs):
    """A log of a training on the CPU tells no memory."""
    table = tables.costs({"student": runs[0][0]})
    assert table.header == ["", "parameters", "MMACs", "seconds a step", "epochs", "hours of training"]
    assert len(table.rows[0]) == 6 and all(table.rows[0])


def test_what_a_training_cost(runs, tmp_path):
    folder = shutil.copytree(runs[0][0].folder, tmp_path / "run")
    (scalars,) = folder.glob("*/vis_data/scalars.json")
    records = [
        dict(loss=1.0, time=1.8, memory=memory, iter=2000 * i, epoch=i, step=2000 * i) for i, memory in ((1, 7), (2, 5))
    ]
    scalars.write_text("".join(json.dumps(record) + "\n" for record in records))
    table = tables.costs({"student": Run.read(folder)})
    assert table.header[3:] == ["seconds a step", "memory, MB", "epochs", "hours of training"]
    assert table.rows[0][3:] == ["1.800", "7", "2", "2.00"]


def test_versions_are_those_of_the_training(runs, tmp_path):
    run = Run(tmp_path, runs[0][0].config)

    def log(name: str, text: str, trains: bool = True) -> None:
        (tmp_path / name / "vis_data").mkdir(parents=True)
        (tmp_path / name / f"{name}.log").write_text(text)
        if trains:
            (tmp_path / name / "vis_data" / "scalars.json").write_text("{}")

    assert run.versions == "" and run.command is None
    log("1", "System environment:\n    PyTorch: 2.1.0+cu121\n    OpenCV: 5.0.0\n    MMEngine: 0.10.7\n")
    log("9", "a test\n    PyTorch: 9.9\n", trains=False)
    assert Run(tmp_path, run.config).versions == "PyTorch 2.1.0+cu121, MMEngine 0.10.7"
    log("2", "x - mmengine - INFO - versions: pcka_mmdet 0.1.0, onedl-mmcv 2.3.6\n    PyTorch: 2.1.0\n")
    assert Run(tmp_path, run.config).versions == "pcka_mmdet 0.1.0, onedl-mmcv 2.3.6"


def test_one_file_with_all_that_it_shows(page):
    text = page.read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text.replace('xlink:href="#', "")) and "<script" not in text
    assert text.count("<svg") == 13 and text.count('role="img"') == 13  # seven charts, three images on both sides
    assert "command" not in text and "tools/train.py &lt;x&gt;.py" in text  # escaped
    assert "over seeds and test images" in text and "The teacher reaches" in text
    assert text.count("<table>") == text.count("<caption>") == 7
    found = {path.name for path in page.parent.glob("*.png")}
    names = "precision", "loss", "similarity", "classes", "sizes", "confusion1", "confusion2"
    assert found == {f"report_{name}.png" for name in names}
    trained = "torch 2.1.0, onedl-mmengine 0.10.12"
    assert f"Trained with {trained}: teacher, student alone, seed 0, student alone, seed 1, distilled student" in text
    assert f"Report written with {releases()}." in text


def test_the_page_of_one_run(page_of_one):
    text = page_of_one.read_text()
    assert "<h1>What the training did: RetinaNet (ResNet-18, 12 channels), on distilled0</h1>" in text
    assert "The distilled student reaches AP" in text and "A CKA of 1 says" in text
    assert text.count("<svg") == 9 and "AP by class" in text and "The images with most errors" in text
    for word in ("difference", "gain", "student alone", "configs differ", "No clear"):
        assert word not in text, word
    assert {path.name for path in page_of_one.parent.glob("*.png")} == {
        f"report_{name}.png" for name in ("precision", "loss", "similarity", "classes", "sizes", "confusion1")
    }


def test_a_baseline_that_distils_goes_by_its_folder(runs, tmp_path):
    out = tmp_path / "report.html"
    result = write_page([runs[1][0]], [runs[1][1]], None, out)
    assert result.startswith("distilled1 reaches AP ") and ", distilled0 0." in result
    text = out.read_text()
    assert "student alone" not in text and "<h1>Two trainings compared on distilled1</h1>" in text
    assert re.findall(r"> ([\w ]+)</label>", text)[:3] == ["detections", "ground truth", "detections"]
    assert re.findall(r"<figcaption>(\w+): \d+ found, \d+ wrong", text)[:2] == ["distilled0", "distilled1"]


def test_a_run_without_a_log(runs, tmp_path):
    """Detections are enough: there are no curves then, and no versions of the training."""
    run = Run(tmp_path / "unlogged", runs[1][0].config)
    (run.folder / "test").mkdir(parents=True)
    (run.folder / RESULTS).write_bytes((runs[1][0].folder / RESULTS).read_bytes())
    write_page([], [run], None, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert (
        "Along the training" not in text
        and "CKA of 1" not in text
        and "The log tells no versions: distilled student." in text
    )


def test_the_page_says_which_checkpoints_were_tested(runs, page, tmp_path):
    """The best ones have results of their own."""
    run = replace(runs[1][0], folder=tmp_path / "best", which="best")
    run.results.parent.mkdir(parents=True)
    run.results.write_bytes((runs[1][0].folder / RESULTS).read_bytes())
    assert run.average_precision == runs[1][0].average_precision and not (run.folder / RESULTS).exists()
    write_page([], [run], None, tmp_path / "report.html")
    assert "test images, of the best checkpoint on val." in (tmp_path / "report.html").read_text()
    assert "of the last checkpoint (the best one where only that was kept)" in page.read_text()


def test_black_is_replaced_as_a_colour_alone():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().set_title("black-rook")
    drawn = svg(figure, "a <figure>")
    assert "black-rook" in drawn and "currentColor" in drawn and "#000000" not in drawn
    assert 'aria-label="a &lt;figure&gt;"' in drawn
