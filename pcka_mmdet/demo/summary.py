"""The report of a whole run: `report.html`, `results.json`, a picture, and the table."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.configuration.complexity import complexity_in_test
from pcka_mmdet.configuration.schedule import training_iterations
from pcka_mmdet.report.page import write_page
from pcka_mmdet.report.pictures import plot_gallery
from pcka_mmdet.report.run import Run
from pcka_mmdet.report.scalars import read_test_metrics, training_seconds
from pcka_mmdet.report.theme import console_table

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


def result(run: Run) -> dict[str, float]:
    """Values of a tested training for the table."""
    seconds = training_seconds(run.records, training_iterations(run.config))
    return {**read_test_metrics(run.results.parent), **complexity_in_test(run.config), "seconds": round(seconds, 1)}


def print_table(results: Results, console: Console) -> None:
    """Print the table of the given methods."""
    rows = [
        [method, *(write(values[key]) if key in values else "" for key, write in COLUMNS.values())]
        for method, values in results.items()
    ]
    console.print(console_table(["", *COLUMNS], rows))


def write_report(runs: Mapping[str, Run], work_dir: Path, console: Console) -> None:
    """Write all files of the report on `teacher`, `student` and `distilled`, and print the table."""
    results = {method: result(run) for method, run in runs.items()}
    write_json(work_dir / "results.json", results)
    titles = {"student": "student alone", "distilled": "distilled student"}
    plot_gallery(
        {f"{title}, AP {results[method]['bbox_mAP']:.3f}": runs[method] for method, title in titles.items()},
        work_dir / "detections.png",
    )
    verdict = write_page([runs["student"]], [runs["distilled"]], runs["teacher"], work_dir / "report.html")
    print_table(results, console)
    console.print(NOTE, style="dim", highlight=False)
    console.print(verdict, highlight=False)
    console.print(f"report.html, results.json and detections.png are in {work_dir}", highlight=False, soft_wrap=True)
