"""Size and direction of the distillation's gradient beside the task's: `python -m research.gradients NAME=DIR ...`."""

import argparse
import statistics
from collections.abc import Mapping, Sequence

from pcka_mmdet.cli.arguments import add_runs_argument
from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.report.scalars import read_scalars, training_records
from research.trials import markdown_table

RATIO, COSINE = "balance.ratio_", "balance.cosine_"
HEADER = ("training", "losses", "ratio before scaling", "cosine", "smallest", "largest")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Size and direction of the distillation's gradient beside the task's.")
    add_runs_argument(parser)
    return parser.parse_args()


def gradient_rows(logs: Mapping[str, Sequence[dict]]) -> list[list[str]]:
    """A row for each training and each part of its losses: means of the logged averages, and the range of the cosine.

    Args:
        logs: Records of trainings by name; see `read_scalars`. A ratio of 0 is left out: the gradient of a training's
            first step is not known when the step is logged.

    Raises:
        ValueError: A training's log has none of these values.
    """
    rows = []
    for name, records in logs.items():
        records = training_records(records)
        known = [key for record in records for key, value in record.items() if key.startswith(RATIO) and value]
        parts = sorted({key.removeprefix(RATIO) for key in known})
        if not parts:
            raise ValueError(f"the log of {name!r} has no {RATIO}*: is it a distillation by pcka-mmdet train?")
        for part in parts:
            of_part = [record for record in records if record.get(RATIO + part)]
            ratios, cosines = ([record[prefix + part] for record in of_part] for prefix in (RATIO, COSINE))
            values = statistics.mean(ratios), statistics.mean(cosines), min(cosines), max(cosines)
            rows.append([name, part, *(f"{value:.3f}" for value in values)])
    return rows


def main() -> None:
    args = parse_args()
    print(markdown_table(HEADER, gradient_rows({name: read_scalars(folder) for name, folder in args.runs.items()})))


if __name__ == "__main__":
    run_tool(main)
