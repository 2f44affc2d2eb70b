"""The benchmark of few labels: its trainings, and its steps of choice on invented results."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pcka_mmdet.demo.digit_scenes import SIZES
from research.few_labels import page
from research.few_labels.protocol import CHOOSING_SEEDS, STEPS, chosen, settings, trials
from research.few_labels.sets import SETS, WHOLE
from research.few_labels.trials import METHODS, Trial
from research.tests.invented import Invented
from research.trainings.frozen import Frozen
from research.trainings.results import Missing, Places, Results
from research.trainings.students import Student

SETTING, TEACHER = Student(3e-3, 4), Student(3e-3, 2)


@pytest.fixture
def places(tmp_path, digit_scenes, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digit_scenes").symlink_to(digit_scenes)
    monkeypatch.setattr("research.data.few.LISTS", tmp_path)
    names = [
        image["file_name"] for image in json.loads((digit_scenes / "annotations/train.json").read_text())["images"]
    ]
    (tmp_path / "digits_25.txt").write_text("\n".join(names[:3]))
    return Places(tmp_path / "work", tmp_path / "data", tmp_path / "weights.pth")


def training(places, method: str, **options):
    return Trial(
        "digits-25", method, 0, SETTING, None if method in ("alone", "teacher") else TEACHER, **options
    ).training(places)


def test_the_student_alone_sees_the_labelled_images_only(places):
    alone = training(places, "alone")
    root = places.data_root / "digit_scenes-25"
    assert len(json.loads((root / "annotations/train.json").read_text())["images"]) == 3
    assert Path(alone.config.train_dataloader.dataset.data_root) == root and not alone.requires and not alone.options
    assert (alone.config.train_cfg.max_epochs, alone.config.default_hooks.checkpoint.interval) == (4, 4)


@pytest.mark.parametrize(
    ("method", "distils", "extra", "requires"),
    [
        ("boxes", False, "pseudo.json", "Labelling"),
        ("distilled", True, None, "Training"),
        ("distilled-images", True, "rest.json", "Training"),
        ("distilled-boxes", True, "pseudo.json", "Labelling"),
    ],
)
def test_what_each_method_reads(places, method, distils, extra, requires):
    found = training(places, method, share=0.75)
    assert (found.config.model.type == "pcka_mmdet.FPNDistill") == distils
    assert [type(stage).__name__ for stage in found.requires] == [requires]
    if extra is None:
        assert not found.options
    else:
        flag, source, of_share, share = found.options
        file, _, folder = source.rpartition(":")
        assert (flag, of_share, share, Path(file).name) == ("--extra", "--extra-share", "0.75", extra)
        assert folder == str(places.data_root / "digit_scenes-25" / "train")
    arguments = found.arguments()
    assert (
        arguments[:3] == ["-m", "pcka_mmdet", "train"] and arguments[-len(found.options) :] == list(found.options)
    ) or extra is None


def test_the_boxes_are_those_of_the_teacher_of_few_labels(places):
    (labelling,) = training(places, "boxes").requires
    (teacher,) = labelling.requires
    assert teacher.name == "digits-25 teacher_lr0.003_e2_wd0.01_base_seed0"
    words = labelling.arguments()
    assert words[2:5] == ["pseudo-label", str(teacher.config_file), str(teacher.checkpoint)]
    assert words[5].startswith(str(places.data_root / "digit_scenes-25/annotations/rest.json:"))
    assert words[-2:] == ["--out", str(labelling.file)]


def test_a_trial_is_read_from_its_row():
    trial = Trial("bccd-25", "boxes", 3, SETTING, TEACHER, 0.75)
    assert Trial.of_row(json.loads(json.dumps(dict(trial=asdict(trial))))) == trial
    assert trial.name == "boxes_share0.75_lr0.003_e4_wd0.01_base_of_lr0.003_e2_wd0.01_base_seed3"


def test_few_labels_train_for_as_many_iterations_as_all():
    assert settings(Student(1e-3, 60), 4, (1, 2)) == [
        Student(1e-3, epochs, augmentation=one) for epochs in (240, 120) for one in ("base", "affine")
    ]
    assert {SETS[f"bccd-{percent}"].passes for percent in (25, 10)} == {4, 10}


def test_the_choice_is_the_best_on_val():
    def value(trial: Trial) -> float:
        shorter = -0.0001 * trial.setting.epochs  # the student alone overfits
        return shorter + 0.1 * (trial.setting.augmentation == "affine") + 0.01 * (trial.share == 0.75)

    results = Invented(value)
    found = trials(results, "bccd-10")
    of_method = {method: [trial for trial in found if trial.method == method] for method in [*METHODS, "teacher"]}
    assert all([trial.seed for trial in of_method[method]] == [0, 1, 2, 3, 4] for method in METHODS)
    assert of_method["alone"][0].setting == Student(0.048, 150, 0.1, "affine")
    for method in METHODS.keys() - {"alone"}:
        assert of_method[method][0].setting == Student(0.048, 600, 0.1, "affine")  # as many iterations as all labels
        assert of_method[method][0].share == 0.75
    assert (
        of_method["distilled"][0].teacher_setting
        == of_method["teacher"][0].setting
        == Student(1e-3, 200, augmentation="affine")
    )
    # a tenth takes over what a quarter chooses
    assert {trial.pair for trial in results.asked if trial.method == "distilled-boxes"} == {"bccd-25"}
    assert {trial.seed for trial in results.asked if trial.method != "teacher"} == set(CHOOSING_SEEDS)


def test_test_is_read_of_the_frozen_choice_alone(tmp_path, monkeypatch):
    frozen = Frozen(tmp_path / "choice.json", chosen, Trial.of_row)
    results = Invented(lambda trial: trial.setting.epochs / 1000)
    frozen.test(results)  # nothing is frozen: no test
    frozen.freeze(results)
    tested = []
    monkeypatch.setattr(Invented, "test", lambda self, trials: tested.extend(trials))
    frozen.test(results)
    assert len(tested) == len(SETS) * 26 and all(trial.tested for trial in tested)
    with pytest.raises(ValueError, match="is not what the results on val choose"):
        frozen.test(Invented(lambda trial: -trial.setting.epochs))


def test_the_steps_ask_for_all_sets(tmp_path):
    asked = set()
    for step in STEPS:
        try:
            step(Results(tmp_path))
        except Missing as missing:
            asked |= {trial.pair for trial in missing.trials}
    assert asked == set(SETS) and len(SETS) == 2 * len(WHOLE) + 1


def test_the_page_has_the_choices(tmp_path):
    results = Results(tmp_path)
    for seed, value in ((1000, 0.25), (1001, 0.35), (0, 0.9)):
        trial = Trial("bccd-25", "alone", seed, SETTING)
        results.write(trial, dict(trial=asdict(trial), val=value))
    text = page.page(results, Places(tmp_path, tmp_path, tmp_path))
    assert "| alone | 4 | base |  | 2 | 0.300 |" in text and "## On test" not in text


def test_the_further_scenes_are_not_labelled():
    of_set = SETS["digits-100"]
    assert of_set.passes == 1 and of_set.sizes == {"train": 3000, "val": 150, "test": 250}
    assert of_set.labelled()[::999] == ["000000.png", "000999.png"] and len(of_set.labelled()) == 1000
    assert SETS["digits-10"].sizes == SIZES and len(SETS["digits-10"].labelled()) == 100
