"""Commands that refuse their arguments, or are interrupted, say so in one sentence."""

import json
import sys

import pytest
from mmengine.config import Config

from pcka_mmdet.cli import demo, main, train
from tests.detectors import distillation, retinanet

STUDENT = "configs/demo/student.py"
CLASSIFIER = "--tta, --show and --show-dir are for detectors: leave them out for this classifier"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a command; its exit status and errors. Files of `tmp_path` are given by their names."""
    loader = dict(batch_size=2, dataset=dict(type="CocoDataset", ann_file="train.json"))
    iterations = dict(model=distillation(), train_dataloader=loader, train_cfg=dict(max_iters=9))
    several = dict(iterations, model=dict(distillation(), teachers=[dict(retinanet(), ckpt="random")]))
    classifier = dict(model=dict(type="ImageClassifier"), default_scope="mmpretrain")
    for name, content in dict(iterations=iterations, several=several, classifier=classifier).items():
        Config(content).dump(tmp_path / f"{name}.py")
    monkeypatch.setenv("LOCAL_RANK", "0")

    def call(*words):
        here = [str(tmp_path / word) if (tmp_path / word).is_file() else word for word in words]
        monkeypatch.setattr(sys, "argv", ["pcka-mmdet", *here])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    "words, said",
    [
        (["test", STUDENT, "a.pth", "--out", "a.json"], "its name must end in .pkl or .pickle; got 'a.json'"),
        (["test", "classifier.py", "a.pth", "--tta"], CLASSIFIER),
        (["test", "classifier.py", "a.pth", "--show-dir", "shown"], CLASSIFIER),
        (["export", "https://x.org/a.pth"], "at a URL: give the file to write too, after https://x.org/a.pth"),
        (["plan", STUDENT], "student.py is no config of an FPNDistill: give one, such as RECIPE_TEACHER_STUDENT.py"),
        (["plan", "several.py"], "a plan is for one teacher: give a config with `teacher` for each"),
        (["plan", "iterations.py"], "iterations.py counts iterations, not epochs: give --epochs"),
        (["curves", "a=x", "a=y"], "two trainings are called 'a'"),
        (["confusion", "a=x", "--threshold", "30"], "a number from 0 to 1 is expected, got '30'"),
        (["train", STUDENT, "--baseline", "x", "--cfg-options", "val_dataloader=None"], "this config has no val_data"),
        (["train", STUDENT, "--baseline", "x"], "there is no validation in the log of 'x': name the work directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused(run, words, said):
    status, errors = run(*words)
    assert status == 2 and said in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    "module, name, words, said",
    [
        (train, "run_training", ["train", STUDENT], "the same command with --resume goes on from the last checkpoint"),
        (demo, "_run", ["demo", "--work-dir"], "run the same command again to continue from the last complete epoch"),
    ],
)
def test_an_interrupted_command_says_how_to_go_on(run, monkeypatch, tmp_path, module, name, words, said):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupt)
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    for variable in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "GLIBC_TUNABLES"):  # the demo sets them
        monkeypatch.setenv(variable, "1")
    words = [*words, str(tmp_path)] if words[-1] == "--work-dir" else words
    assert run(*words) == (130, f"interrupted: {said}\n")


def test_a_student_and_its_baseline_are_reported_together(run, monkeypatch, tmp_path):
    """The last line of the training names the baseline that was given."""
    log = tmp_path / "alone" / "20260101_000000" / "vis_data"
    log.mkdir(parents=True)
    (log / "scalars.json").write_text(json.dumps({"coco/bbox_mAP": 0.25, "step": 1}))
    given = []

    def keep(config, options, notes, hooks):
        given.extend(hooks)
        raise ValueError("enough")

    monkeypatch.setattr(train, "run_training", keep)
    words = ["train", STUDENT, "--baseline", str(tmp_path / "alone")]
    assert run(*words)[0] == run(*words, "--resume", "--work-dir", str(tmp_path / "alone"))[0] == 2
    assert [(hook.baseline, hook.compare_with) for hook in given] == [(0.25, tmp_path / "alone")] * 2
    assert [hook.summary[:8] for hook in given] == ["", "AP 0.250"]  # so far
