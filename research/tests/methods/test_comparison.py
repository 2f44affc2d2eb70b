"""Comparisons: where initial weights come from, and which results are kept."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from research.methods.comparison import TEACHER, Comparison, _name
from research.methods.data_sets import DATA_SETS
from research.methods.methods import METHODS, PLAIN
from research.trainings.stages import Stage

ANNOTATIONS = dict(images=[], annotations=[], categories=[])
KEYS = [("short", name, 1.0, 0) for name in (PLAIN, "mimic")]


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data" / "bccd").mkdir(parents=True)
    for split in ("train", "val", "test"):
        (tmp_path / "data" / "bccd" / f"{split}.json").write_text(json.dumps(ANNOTATIONS))
    return tmp_path / "data"


def comparison(folder: Path, data: Path, name: str = "bccd-imagenet", **arguments) -> Comparison:
    console = Console(file=io.StringIO())
    files = (folder / "results.json", folder / "work", data)
    return Comparison((name, DATA_SETS[name]), METHODS, *files, console, **arguments)


@pytest.mark.parametrize("name, starts", [("bccd-imagenet", (True, True)), ("bccd", (True, False))])
def test_weights_are_of_the_configs_that_download_them(tmp_path, data, name, starts):
    """A student from random weights is left as it is."""
    weights = tmp_path / "weights.pth"
    found = comparison(tmp_path, data, name, weights=weights)
    configs = (found.teacher.config, found._training(KEYS[0]).config)
    files = [(config.model.backbone.init_cfg or {}).get("checkpoint") for config in configs]
    assert files == [str(weights) if start else None for start in starts]
    assert found._training(KEYS[1]).config.model.architecture.backbone.init_cfg == configs[1].model.backbone.init_cfg


def test_what_trained_is_told_after_a_later_test(tmp_path, data, monkeypatch):
    """Records of older trainings have no provenance, the file of results has."""
    first = comparison(tmp_path, data)
    trial = dict(zip(("regime", "method", "setting", "seed"), KEYS[0], strict=True), val=0.1, test=None, seconds=1.0)
    entry = dict(trial=trial, inputs=first._digest(KEYS[0]), version="old", machine=dict(cores=2))
    (tmp_path / "results.json").write_text(json.dumps({_name(KEYS[0]): entry}))
    metrics = {"val": dict(bbox_mAP=0.1), "seconds": 1.0, "test": dict(bbox_mAP=0.2)}
    monkeypatch.setattr(Stage, "record", metrics)
    monkeypatch.setattr(Stage, "is_done", lambda self: True)
    comparison(tmp_path, data).run(KEYS[:1], tested=True, lock=0)
    kept = json.loads((tmp_path / "results.json").read_text())[_name(KEYS[0])]
    assert kept["trial"]["test"] == 0.2 and (kept["version"], kept["machine"]) == ("old", dict(cores=2))


def test_the_teachers_result(tmp_path, data):
    """It is kept beside the students', and is none of them."""
    first = comparison(tmp_path, data)
    assert first.teacher_trial() is None
    trial = dict(zip(("regime", "method", "setting", "seed"), TEACHER, strict=True), val=0.5, test=0.4, seconds=1.0)
    entry = dict(trial=trial, inputs=first._digest(TEACHER))
    (tmp_path / "results.json").write_text(json.dumps({_name(TEACHER): entry}))
    again = comparison(tmp_path, data)
    assert (again.teacher_trial().val, again.teacher_trial().test, again.results()) == (0.5, 0.4, [])
    assert again._training(TEACHER) is again.teacher
    assert comparison(tmp_path, data, epochs=1).teacher_trial() is None


def test_results_are_kept_until_their_inputs_change(tmp_path, data):
    """The folder of the data and the file of weights are none: another machine has others."""
    first = comparison(tmp_path, data)
    trials = [dict(zip(("regime", "method", "setting", "seed"), key, strict=True)) for key in KEYS]
    values = dict(val=0.1, test=None, seconds=1.0)
    entries = {
        _name(key): dict(trial=trial | values, inputs=first._digest(key))
        for key, trial in zip(KEYS, trials, strict=True)
    }
    (tmp_path / "results.json").write_text(json.dumps(entries))
    shutil.move(data, tmp_path / "elsewhere")
    moved = comparison(tmp_path, tmp_path / "elsewhere", weights=tmp_path / "weights.pth")
    assert [(trial.regime, trial.method, trial.setting, trial.seed) for trial in moved.results()] == KEYS
    assert comparison(tmp_path, tmp_path / "elsewhere", epochs=1).results() == []
    (tmp_path / "elsewhere" / "bccd" / "train.json").write_text(json.dumps(ANNOTATIONS | dict(info={})))
    assert comparison(tmp_path, tmp_path / "elsewhere").results() == []


@pytest.mark.parametrize("changed", ["val", "test", "code"])
def test_results_of_other_code_or_of_other_images_to_test_on_are_not_mixed(tmp_path, data, monkeypatch, changed):
    first = comparison(tmp_path, data)
    trial = dict(zip(("regime", "method", "setting", "seed"), KEYS[0], strict=True), val=0.1, test=None, seconds=1.0)
    entry = dict(trial=trial, inputs=first._digest(KEYS[0]), **first._facts)
    (tmp_path / "results.json").write_text(json.dumps({_name(KEYS[0]): entry}))
    assert len(comparison(tmp_path, data).results()) == 1
    if changed == "code":
        monkeypatch.setattr("research.methods.comparison.code_sha256", lambda: "another")
    else:
        (data / "bccd" / f"{changed}.json").write_text(json.dumps(ANNOTATIONS | dict(info={})))
    assert comparison(tmp_path, data).results() == []
