"""AP and CKA along trainings: `pcka-mmdet curves NAME=DIR ...`."""

import argparse

from pcka_mmdet.report.curves import plot_similarity
from pcka_mmdet.report.scalars import iterations_per_epoch, read_scalars, validation_records

from .arguments import add_picture_argument, add_runs_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_runs_argument(parser)
    add_picture_argument(parser, "similarity.png")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    logs = {name: read_scalars(folder) for name, folder in args.runs.items()}
    lengths = {name: iterations_per_epoch(records) for name, records in logs.items()}
    if lacking := [args.runs[name] for name, length in lengths.items() if length is None]:
        raise ValueError(
            f"{str(lacking[0])!r} holds no log of a training by epochs: give the work directory of tools/train.py"
        )
    plot_similarity(logs, lengths, args.out)
    for name, records in logs.items():
        validations = validation_records(records)
        print(f"{name}: {len(validations)} validations, {len(records)} records")
    print(f"the plot is {args.out}")
