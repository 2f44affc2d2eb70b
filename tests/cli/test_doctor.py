"""The doctor's options; what it finds is tested in tests/engine/checks."""

import pytest

from pcka_mmdet.cli import doctor, make_parser
from pcka_mmdet.engine.checks import OK, Finding
from pcka_mmdet.engine.training import TrainingOptions


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


def test_a_step_in_mixed_precision(examined):
    """As `train --amp` would take it."""
    for words, amp in ((["--amp"], True), ([], False)):
        args = make_parser("doctor").parse_args(["doctor", "configs/demo/student.py", *words])
        assert [finding.subject for finding in doctor.findings(args, "scratch")] == ["a step"]
        assert examined.pop() == ("scratch", None, None, TrainingOptions(amp=amp))


def test_options_without_a_config(examined):
    args = make_parser("doctor").parse_args(["doctor", "--amp"])
    with pytest.raises(ValueError, match="these options are for a config: write pcka-mmdet doctor CONFIG"):
        list(doctor.findings(args, "scratch"))
