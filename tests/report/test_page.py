"""The page of a report: from runs in memory."""

import base64
import copy
import json
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from pcka_mmdet.configuration.installed import releases
from pcka_mmdet.report import page as page_module
from pcka_mmdet.report.curves import along
from pcka_mmdet.report.page import lines, svg, tables, write_page
from pcka_mmdet.report.page.changes import largest, photo
from pcka_mmdet.report.page.scores import score, with_partners
from pcka_mmdet.report.page.words import DISTILLED, STUDENT, apart, headline
from pcka_mmdet.report.run import RESULTS, Run
from tests.report.cases import CLASSES, dump, random_case
from tests.report.conftest import work_dir


def test_the_gain_is_of_the_means_over_seeds(runs):
    plain, distilled, teacher = runs
    scores = score([plain, distilled])
    means = [np.mean([run.average_precision for run in side]) for side in (plain, distilled)]
    whole = scores.whole
    assert [side.value for side in whole.sides] == pytest.approx(means)
    assert whole.difference.value == pytest.approx(means[1] - means[0]) and whole.difference.low > 0
    assert [one.name for one in scores.classes] == list(CLASSES)
    assert (scores.over, scores.trainings, scores.paired) == ("seeds and test images", 2, True)
    single = score([plain[:1], distilled[:1]])
    assert (single.over, single.trainings) == ("test images", 1)
    assert score([plain, distilled[::-1]]).whole == whole  # paired by their seeds, not by their places
    assert whole.difference.high - whole.difference.low > single.whole.difference.high - single.whole.difference.low
    weights = np.ones((1, 20))
    for index, one in enumerate(scores.classes):
        values = [run.matches.average_precision(weights)[0, index] for run in distilled]
        assert one.sides[1].value == pytest.approx(np.mean(values)) and one.shown is one.difference
    assert scores.teacher is None and teacher.average_precision > means[1]
    ap = score([plain, distilled], teacher).teacher
    assert ap.value == pytest.approx(teacher.average_precision) and ap.low <= ap.value <= ap.high


def test_a_side_alone_has_no_difference(runs):
    both, single = score(runs[:2]), score(runs[1:2])
    assert single.whole.sides == both.whole.sides[1:] and single.whole.shown is single.whole.sides[0]
    assert single.whole.difference is None and single.over == "seeds and test images"
    assert [one.name for one in single.classes] == list(CLASSES)


@pytest.mark.parametrize(
    "seeds, repeats", [([None] * 4, "trainings"), ([0, 1, 2, 3], "seeds")], ids=["none", "not common"]
)
def test_trainings_without_common_seeds_are_not_paired(runs, seeds, repeats, monkeypatch):
    plain, distilled, _ = runs
    sides = {STUDENT: plain, DISTILLED: distilled}
    paired = score([plain, distilled])
    for run, seed in zip((*plain, *distilled), seeds, strict=True):
        monkeypatch.setitem(run.config._cfg_dict, "randomness", dict(seed=seed))
    scores = score([plain, distilled])
    assert (paired.paired, scores.paired, scores.repeats) == (True, False, repeats)
    assert f"over {repeats} and test images, which have no common seeds to be paired by)." in headline(sides, scores)
    assert "over seeds and test images)." in headline(sides, paired)
    values = [[run.average_precision for run in side] for side in (distilled, plain)]
    assert scores.whole.difference.value == pytest.approx(np.mean(values[0]) - np.mean(values[1]))


def test_trainings_of_two_methods_are_no_seeds(runs, monkeypatch):
    plain, distilled, _ = runs
    monkeypatch.setitem(distilled[1].config._cfg_dict, "optim_wrapper", dict(optimizer=dict(lr=7)))
    scores = score([plain, distilled])
    assert scores.repeats == "trainings"
    sides = {STUDENT: plain, DISTILLED: distilled}
    assert "the mean over 2 trainings, " in headline(sides, scores)
    separate = apart(sides)
    assert separate == {STUDENT: plain, **{str(run.folder): [run] for run in distilled}}
    curves, unit = along({name: [run.records for run in side] for name, side in separate.items()})
    drawn = [line.get_color() for line in lines("precision", curves["precision"], unit).axes[0].get_lines()]
    assert len(drawn) == 4 and len(set(drawn)) == 3 and drawn[0] == drawn[1]  # the student's two seeds


def test_runs_on_other_images_are_refused(runs, tmp_path):
    foreign = work_dir(tmp_path / "foreign", dump(random_case(images=5, first=20)[0], tmp_path / "a.json"))
    (foreign.folder / RESULTS).write_text("[]")
    with pytest.raises(ValueError, match="foreign' was tested on other images, classes or objects than"):
        write_page([foreign], runs[1], None, tmp_path / "report.html")
    with pytest.raises(ValueError, match="foreign' was tested on other images, classes or objects than"):
        write_page([], runs[1], foreign, tmp_path / "report.html")


def test_runs_on_other_objects_are_refused(runs, tmp_path):
    """Files of two splits may number their images alike."""
    content, _ = random_case()
    for one in content["annotations"]:
        one["image_id"] = (one["image_id"] + 1) % 20
    foreign = work_dir(tmp_path / "foreign", dump(content, tmp_path / "a.json"))
    with pytest.raises(ValueError, match="foreign' was tested on other images, classes or objects than"):
        write_page([foreign], runs[1], None, tmp_path / "report.html")


def test_a_teacher_without_a_log(runs, tmp_path):
    """Its folder has only a test; the curves of the students are by epochs."""
    plain, distilled, teacher = runs
    folder = shutil.copytree(teacher.folder, tmp_path / "teacher", ignore=shutil.ignore_patterns("2026*"))
    unlogged = Run(folder, teacher.config)
    assert unlogged.records == []
    sides = {"teacher": [unlogged], "student": plain, "distilled": distilled}
    curves, unit = along({name: [run.records for run in side] for name, side in sides.items()})
    table = tables.ends(sides, curves, unit)
    assert unit == "epoch" and len(table.rows) == 5
    assert table.header[-1] == "best AP on val" and [row[-1] for row in table.rows] == ["", *["0.300 at epoch 2"] * 4]


def test_seeds_without_a_partner_are_left_out(runs):
    plain, distilled, teacher = runs
    methods = dict(a=plain, b=[distilled[0], teacher])  # of one seed
    assert with_partners(methods) == (methods, [])
    assert with_partners(dict(a=plain[:1], b=distilled)) == (dict(a=plain[:1], b=distilled[:1]), [1])
    assert with_partners(dict(a=plain, b=distilled)) == (dict(a=plain, b=distilled), [])
    assert with_partners(dict(b=distilled)) == (dict(b=distilled), [])


def test_results_are_read_for_every_image(runs):
    detections = runs[0][0].matches.detections(0)
    assert list(detections) == list(range(20))
    assert all(sorted(boxes, key=lambda box: -box.score) == boxes for boxes in detections.values())


def test_images_of_largest_change(runs):
    plain, distilled = runs[0][0], runs[1][0]
    better, worse = largest([plain, distilled])
    assert len(better) == 3 and better[0].gain >= better[1].gain >= better[2].gain > 0 and worse == []
    change = better[0]
    before, after = (sum(box.correct for box in boxes) for boxes in change.detections)
    assert before < after and change.file.name == f"{change.image}.png"
    errors = [len(boxes) - hits for boxes, hits in zip(change.detections, (before, after), strict=True)]
    assert change.gain == after - before - errors[1] + errors[0]
    assert [c.gain for c in largest([distilled, plain])[1]] == [-c.gain for c in better]


def test_images_of_most_errors_of_a_run_alone(runs):
    better, worse = largest([runs[0][0]])
    assert better == [] and len(worse) == 3 and worse[0].gain <= worse[1].gain <= worse[2].gain < 0
    (boxes,) = worse[0].detections
    hits = sum(box.correct for box in boxes)
    assert worse[0].gain == hits - (len(boxes) - hits) - len(worse[0].objects)


def test_layers_of_boxes(page, page_of_one, runs):
    text = page.read_text()
    pictures = re.findall(r"<figure>\s*(<svg.*?</svg>)", text, flags=re.DOTALL)
    layers = [dict(re.findall(r'class="layer-(\w+)">(.*?)</g>', drawn, flags=re.DOTALL)) for drawn in pictures]
    change = largest([runs[0][0], runs[1][0]])[0][0]
    for side in (0, 1):
        count = len(change.detections[side])
        boxes = {name: layer.count("<rect") for name, layer in layers[side].items()}
        assert boxes == {"truth": len(change.objects), "teacher": len(change.objects), "run": count}
        x, y, width, height = change.detections[side][0].bbox
        assert f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"' in layers[side]["run"]
    assert [picture.count("data:image/jpeg") for picture in pictures] == [1, 0] * 3
    pixels = [re.search(r'<image id="([^"]+)"', picture)[1] for picture in pictures[::2]]
    assert len(set(pixels)) == 3
    assert all(f'<use href="#{place}"/>' in picture for place, picture in zip(pixels, pictures[1::2], strict=True))
    assert "%</text>" in layers[0]["run"] and "%" not in layers[0]["truth"] and ">teacher " in layers[0]["teacher"]
    assert re.findall(r'class="layer-(\w+)"', page_of_one.read_text()) == ["truth", "run"] * 3


def test_configs_differ_by_the_distillation_alone(runs):
    plain, distilled = runs[0][0], runs[1][0]
    table = tables.differences({"student alone": plain, "distilled student": distilled})
    keys = [row[0] for row in table.rows]
    assert "distillation.balance.ratio" in keys and not [key for key in keys if key.startswith("model.")]
    assert table.header == ["setting", "student alone", "distilled student"]
    assert ["randomness.seed", "0", "1"] in tables.differences({"a": plain, "b": runs[1][1]}).rows


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


def test_one_file_with_all_that_it_shows(page):
    text = page.read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text.replace('xlink:href="#', "")) and "<script" not in text
    assert text.count("<svg") == 13 and text.count('role="img"') == 13  # seven charts, three images on both sides
    assert "command" not in text and "tools/train.py &lt;x&gt;.py" in text  # escaped
    assert "over seeds and test images" in text and "The teacher reaches" in text
    assert text.count("<table>") == text.count("<caption>") == 7
    files = {path.name for path in page.parent.glob("*.png")}
    names = "precision", "loss", "similarity", "classes", "sizes", "confusion1", "confusion2"
    assert files == {f"report_{name}.png" for name in names}
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


def test_a_baseline_in_a_folder_called_teacher(runs, tmp_path):
    """It keeps its curve beside that of the teacher."""
    _, distilled, teacher = runs
    baseline = Run.read(shutil.copytree(distilled[0].folder, tmp_path / "teacher"))
    write_page([baseline], [distilled[1]], teacher, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "teacher 0." in text and "The teacher reaches" in text
    assert text.count("0.300 at epoch 2") == 3


def test_a_student_whose_config_file_is_on_another_machine(runs, tmp_path):
    plain, (run, _), _ = runs
    config = copy.deepcopy(run.config)
    config.model.architecture = dict(cfg_path="gone.py")
    write_page(plain[:1], [replace(run, config=config)], None, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "What distillation did: gone, on" in text and "model.architecture.cfg_path" in text


def test_images_without_objects_have_no_ap(runs, tmp_path):
    content = random_case()[0]
    content["annotations"] = []
    empty = work_dir(tmp_path / "empty", dump(content, tmp_path / "a.json"))
    with pytest.raises(ValueError, match="the test images hold no object of these classes"):
        write_page([], [empty], None, tmp_path / "report.html")


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
        and "The log has no versions: distilled student." in text
    )


def test_the_page_says_which_checkpoints_were_tested(runs, page, tmp_path):
    """The best ones have separate results."""
    run = replace(runs[1][0], folder=tmp_path / "best", which="best")
    run.results.parent.mkdir(parents=True)
    run.results.write_bytes((runs[1][0].folder / RESULTS).read_bytes())
    assert run.average_precision == runs[1][0].average_precision and not (run.folder / RESULTS).exists()
    write_page([], [run], None, tmp_path / "report.html")
    assert "test images, of the best checkpoint on val." in (tmp_path / "report.html").read_text()
    assert "of the last checkpoint (the best one where only that was kept)" in page.read_text()


def test_black_is_replaced_as_a_colour_alone():
    figure = Figure()
    figure.subplots().set_title("black-rook")
    drawn = svg(figure, "a <figure>")
    assert "black-rook" in drawn and "currentColor" in drawn and "#000000" not in drawn
    assert 'aria-label="a &lt;figure&gt;"' in drawn


def test_what_is_left_out_of_the_page(runs, tmp_path, monkeypatch):
    """A matrix of very many classes, and images that are gone."""
    monkeypatch.setattr(page_module, "MOST_CLASSES", 2)
    run = Run.read(shutil.copytree(runs[1][0].folder, tmp_path / "run"))
    gone = copy.deepcopy(run.config)
    gone.test_dataloader.dataset.data_root = str(tmp_path / "gone")
    write_page([], [replace(run, config=gone)], None, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "What is taken for what" not in text and not list(tmp_path.glob("*confusion*"))
    assert len(re.findall(r"the image \d+\.png is not there", text)) == 3 and "image/jpeg" not in text


def test_a_large_image_is_made_small(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((300, 1280, 3), np.uint8))
    width, height, data = photo(tmp_path / "a.png")
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert (width, height) == (1280, 300) and picture.shape == (150, 640, 3)
