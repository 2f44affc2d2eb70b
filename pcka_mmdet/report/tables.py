"""The table of a run: results by method, as text for the console and as Markdown."""

from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.table import Table

Results = Mapping[str, Mapping[str, float]]
"""For each method `bbox_mAP`, `bbox_mAP_50` ..., and `parameters`, `flops` and `seconds` if known."""


def _average_precision(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"  # COCO gives -1 where no object is of that size


COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "AP": ("bbox_mAP", _average_precision),
    "AP50": ("bbox_mAP_50", _average_precision),
    "AP75": ("bbox_mAP_75", _average_precision),
    "APs": ("bbox_mAP_s", _average_precision),
    "APm": ("bbox_mAP_m", _average_precision),
    "APl": ("bbox_mAP_l", _average_precision),
    "params": ("parameters", lambda value: f"{value / 1e6:.2f} M"),
    "MMACs": ("flops", lambda value: f"{value / 1e6:.0f}"),
    "seconds": ("seconds", lambda value: f"{value:.0f}"),
}
NOTE = (
    "COCO metrics on the test split: AP (mean over IoU 0.5 to 0.95), AP50, AP75, and APs, APm, APl of small, medium "
    "and large objects (below 32², below 96² pixels, larger; - where there are none). MMACs: millions of multiply-adds "
    "per image, which many papers call FLOPs. seconds: training time without validation."
)


def table_rows(results: Results) -> list[list[str]]:
    """Cells of the table, one row per method; its name comes first."""
    return [
        [method, *(write(values[key]) if key in values else "" for key, write in COLUMNS.values())]
        for method, values in results.items()
    ]


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


def header() -> list[str]:
    """Column names for `table_rows`."""
    return ["", *COLUMNS]


def verdict(results: Results) -> str:
    """The AP of the distilled student compared with the student's."""
    student, distilled = (results[method]["bbox_mAP"] for method in ("student", "distilled"))
    return f"distilled minus student: {distilled - student:+.3f} AP ({distilled:.3f} - {student:.3f})"


def markdown_report(results: Results, pictures: Mapping[str, str]) -> str:
    """The report: table, verdict and pictures (file names by caption)."""
    parts = [markdown_table(header(), table_rows(results)), f"{NOTE}\n", f"**{verdict(results)}**\n"]
    parts += [f"![{caption}]({name})\n" for caption, name in pictures.items()]
    return "# Distillation\n\n" + "\n".join(parts)
