"""The table's text."""

import io

from rich.console import Console

from pcka_mmdet.report import tables

RESULTS = {
    "teacher": {
        "bbox_mAP": 0.5,
        "bbox_mAP_50": 0.75,
        "bbox_mAP_75": 0.55,
        "bbox_mAP_s": 0.4,
        "bbox_mAP_m": 0.6,
        "bbox_mAP_l": -1.0,
        "parameters": 3_157_720,
        "flops": 234_242_560,
        "seconds": 312.4,
    },
    "student": {"bbox_mAP": 0.2826},
    "distilled": {"bbox_mAP": 0.431},
}


def test_cells():
    teacher, student, _ = tables.table_rows(RESULTS)
    assert tables.header() == ["", "AP", "AP50", "AP75", "APs", "APm", "APl", "params", "MMACs", "seconds"]
    assert teacher == ["teacher", "0.500", "0.750", "0.550", "0.400", "0.600", "-", "3.16 M", "234", "312"]
    assert student == ["student", "0.283", *[""] * 8]


def test_markdown():
    lines = tables.markdown_table(["", "AP"], [["student", "0.283"]]).splitlines()
    assert lines == ["|  | AP |", "| --- | ---: |", "| student | 0.283 |"]


def test_the_console_table_fits_80_columns():
    output = io.StringIO()
    Console(file=output, width=80).print(tables.console_table(tables.header(), tables.table_rows(RESULTS)))
    (line,) = [line for line in output.getvalue().splitlines() if "teacher" in line]
    assert line.split() == ["teacher", "0.500", "0.750", "0.550", "0.400", "0.600", "-", "3.16", "M", "234", "312"]


def test_verdict():
    assert tables.verdict(RESULTS) == "distilled minus student: +0.148 AP (0.431 - 0.283)"


def test_the_report_shows_table_verdict_and_pictures():
    text = tables.markdown_report(RESULTS, {"curves": "curves.png"})
    assert "| distilled | 0.431 |" in text
    assert "+0.148 AP" in text
    assert "![curves](curves.png)" in text
