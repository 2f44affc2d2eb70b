"""Tables on the console."""

import io

from rich.console import Console

from pcka_mmdet.report.theme import console_table


def test_the_console_shows_every_cell():
    output = io.StringIO()
    Console(file=output, width=40).print(console_table(["", "AP"], [["student", "0.283"], ["teacher", ""]], "results"))
    assert [line.split() for line in output.getvalue().splitlines() if line.strip()][-2:] == [
        ["student", "0.283"],
        ["teacher"],
    ]
