"""Size and direction of the distillation's gradient beside the task's: `tools/analysis/gradients.py NAME=DIR ...`."""

import argparse
from pathlib import Path

from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.report.gradients import HEADER, gradient_rows
from pcka_mmdet.report.scalars import read_scalars
from pcka_mmdet.report.tables import markdown_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Size and direction of the distillation's gradient beside the task's.")
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR", help="work directories of trainings, with their names")
    args = parser.parse_args()
    if any("=" not in run for run in args.runs):
        parser.error("write NAME=DIR for each training, such as heads=work_dirs/distilled")
    return args


def main() -> None:
    folders = {name: Path(folder) for name, _, folder in (run.partition("=") for run in parse_args().runs)}
    print(markdown_table(HEADER, gradient_rows({name: read_scalars(folder) for name, folder in folders.items()})))


if __name__ == "__main__":
    run_tool(main)
