"""Tables of text, for the console and as Markdown."""

from collections.abc import Sequence

from rich import box
from rich.table import Table


def console_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """The table for `rich`: first column left-aligned, numbers right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, title=title, padding=(0, 1, 0, 0))
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
