"""The table of the demo."""

import io

from rich.console import Console

from pcka_mmdet.demo.summary import print_table

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


def test_the_table_fits_80_columns():
    output = io.StringIO()
    print_table(RESULTS, Console(file=output, width=80))
    words = [line.split() for line in output.getvalue().splitlines()]
    assert ["AP", "AP50", "AP75", "APs", "APm", "APl", "params", "MMACs", "seconds"] in words
    assert ["teacher", "0.500", "0.750", "0.550", "0.400", "0.600", "-", "3.16", "M", "234", "312"] in words
    assert ["student", "0.283"] in words
