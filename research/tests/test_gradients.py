"""The table of gradients."""

import json
import sys

import pytest

from research.gradients import gradient_rows, main


def record(iteration, ratio, cosine, part="all"):
    return {"iter": iteration, f"balance.ratio_{part}": ratio, f"balance.cosine_{part}": cosine}


def test_means_of_what_was_logged_once_the_gradient_is_known():
    log = [record(1, 0.0, 0.0), record(3, 6.0, 0.3), record(2, 2.0, -0.1), {"step": 1, "coco/bbox_mAP": 0.5}]
    assert gradient_rows(dict(mimic=log)) == [["mimic", "all", "4.000", "0.100", "-0.100", "0.300"]]


def test_a_row_for_each_source():
    log = [{**record(i, 1.0, 0.5, "head_neck"), **record(i, 3.0, 0.25, "own_head")} for i in (1, 2)]
    assert [row[1:4] for row in gradient_rows(dict(both=log))] == [
        ["head_neck", "1.000", "0.500"],
        ["own_head", "3.000", "0.250"],
    ]


def test_a_single_record():
    assert gradient_rows(dict(mimic=[record(25, 2.0, 0.1)])) == [["mimic", "all", "2.000", "0.100", "0.100", "0.100"]]


@pytest.mark.parametrize("log", [[{"iter": 1}, {"iter": 2}], [record(1, 0.0, 0.0)]])
def test_without_balance(log):
    with pytest.raises(ValueError, match=r"the log of 'pcka' has no balance.ratio_\*: is it a distillation by"):
        gradient_rows(dict(pcka=log))


def test_the_command(tmp_path, monkeypatch, capsys):
    """As docs/analysis.md has it."""
    folder = tmp_path / "20260101_000000" / "vis_data"
    folder.mkdir(parents=True)
    lines = [json.dumps(record(number, 2.0, 0.1, "all_neck")) for number in (1, 2)]
    (folder / "scalars.json").write_text("\n".join(lines))
    monkeypatch.setattr(sys, "argv", ["gradients", f"distilled={tmp_path}"])
    main()
    assert "| distilled | all_neck | 2.000 | 0.100 |" in capsys.readouterr().out
