"""Colours of the plots, Paul Tol's, which colour-blind readers can tell apart, also in print; and tables as text."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

METHOD_COLOURS = {"teacher": "#7f7f7f", "student": "#0077bb", "distilled": "#ee7733"}
LEVEL_COLOURS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#222222")
CLASS_COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#997700", "#44bb99", "#ffaabb",
)  # fmt: skip


def class_colour(number: int) -> str:
    """The colour of a class. Colours repeat if there are more classes than colours."""
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def text_on(colour: str) -> str:
    """Black or white, whichever is easier to read on `#rrggbb`."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else "white"


def console_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """The table for `rich`: first column left-aligned, numbers right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, title=title, padding=(0, 1, 0, 0))
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
