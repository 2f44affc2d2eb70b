"""The report of a whole run: `report.html`, `results.json`, `report.md`, pictures, and the table."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.report import tables
from pcka_mmdet.report.curves import plot_curves
from pcka_mmdet.report.gallery import plot_gallery
from pcka_mmdet.report.page.page import write_page
from pcka_mmdet.report.run import Run
from pcka_mmdet.report.scalars import read_scalars

from .stages import Evaluation


def result(test: Evaluation) -> dict[str, float]:
    """Values of a method for the table."""
    record = test.record
    return {
        **record["test"],
        "parameters": record["parameters"],
        "flops": record["flops"],
        "seconds": test.training.record["seconds"],
    }


def print_table(results: tables.Results, console: Console) -> None:
    """Print the table of the given methods."""
    console.print(tables.console_table(tables.header(), tables.table_rows(results)))


def write_report(tests: Mapping[str, Evaluation], work_dir: Path, console: Console) -> None:
    """Write all files of the report into `work_dir`, and print the table."""
    results = {method: result(test) for method, test in tests.items()}
    write_json(work_dir / "results.json", results)
    plot_curves(
        {method: read_scalars(test.training.folder) for method, test in tests.items()},
        {m: test.training.iterations / test.training.config.train_cfg.max_epochs for m, test in tests.items()},
        work_dir / "curves.png",
    )
    runs = {method: Run.read(test.training.folder) for method, test in tests.items()}
    titles = {"student": "student alone", "distilled": "distilled student"}
    plot_gallery(
        {f"{title}, AP {results[method]['bbox_mAP']:.3f}": runs[method] for method, title in titles.items()},
        work_dir / "detections.png",
    )
    pictures = {"curves of the trainings": "curves.png", "detections on test images": "detections.png"}
    (work_dir / "report.md").write_text(tables.markdown_report(results, pictures))
    write_page([runs["student"]], [runs["distilled"]], runs["teacher"], work_dir / "report.html")
    print_table(results, console)
    console.print(tables.NOTE, style="dim", highlight=False)
    files = ", ".join(["report.html", "results.json", "report.md", *pictures.values()])
    console.print(f"{tables.verdict(results)}\n{files} are in {work_dir}", highlight=False, soft_wrap=True)
