"""The doctor's options, lines and exit status; what it finds is tested in tests/engine/checks."""

import json

import pytest
from mmengine.config import Config

from pcka_mmdet.cli import doctor, make_parser
from pcka_mmdet.engine.checks import ERROR, OK, WARNING, Finding
from pcka_mmdet.engine.training import TrainingOptions

STUDENT = "configs/demo/student.py"


@pytest.fixture
def examined(monkeypatch):
    """Options that a config was examined with."""
    seen = []

    def examine(config, images, baseline, options):
        seen.append((config.work_dir, images, baseline, options))
        yield Finding(OK, "a step", "")

    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.setattr(doctor, "examine_installation", lambda: iter(()))
    monkeypatch.setenv("LOCAL_RANK", "0")
    return seen


def findings(*words):
    args = make_parser("doctor").parse_args(["doctor", *map(str, words)])
    return [(finding.subject, finding.text) for finding in doctor.findings(args, "scratch")]


def test_a_step_in_mixed_precision(examined):
    """As `train --amp` would take it."""
    for words, amp in ((["--amp"], True), ([], False)):
        assert findings(STUDENT, *words) == [("a step", "")]
        assert examined.pop() == ("scratch", None, None, TrainingOptions(amp=amp))


def test_a_teacher_is_compared_with_a_baseline(examined, monkeypatch, tmp_path):
    log = tmp_path / "20260101_000000" / "vis_data"
    log.mkdir(parents=True)
    (log / "scalars.json").write_text(json.dumps({"coco/bbox_mAP": 0.25, "step": 1}))
    config = Config(dict(model=dict(type="A"), work_dir="work"))
    monkeypatch.setattr("pcka_mmdet.cli.arguments.distillation_config", lambda *_: (config, "maps, as given"))
    words = [STUDENT, "--teacher", "t.py", "--teacher-ckpt", "t.pth", "--check-teacher", "7", "--baseline", tmp_path]
    assert findings(*words) == [("losses", "maps, as given"), ("a step", "")]
    assert examined.pop() == ("scratch", 7, 0.25, TrainingOptions())


def test_extra_images_that_are_refused_are_a_finding(examined, tmp_path):
    """And the examination goes on."""
    (subject, text), step = findings(STUDENT, "--extra", tmp_path / "none")
    assert subject == "extra images" and text.startswith("there is no folder or file") and step == ("a step", "")


def test_extra_images_are_given_once(examined, capsys):
    with pytest.raises(SystemExit):
        findings(STUDENT, "--extra", "a", "--extra", "b")
    assert "--extra is given twice: join the images in one file or folder" in capsys.readouterr().err


def test_options_without_a_config(examined):
    with pytest.raises(ValueError, match="these options are for a config: write pcka-mmdet doctor CONFIG"):
        findings("--amp")


@pytest.mark.parametrize("level, status", [(OK, 0), (WARNING, 0), (ERROR, 2)])
def test_lines_and_the_exit_status(examined, monkeypatch, capsys, level, status):
    """A list in brackets is no colour of the console."""
    found = [Finding(level, "images", "[red] of [3, 4]"), Finding(OK, "python", "")]
    monkeypatch.setattr(doctor, "examine_installation", lambda: iter(found))
    with pytest.raises(SystemExit, match=str(status)):
        doctor.run(make_parser("doctor").parse_args(["doctor"]))
    assert capsys.readouterr().out == f"{level:7} images: [red] of [3, 4]\nok      python\n"
