"""AP and CKA along trainings: `pcka-mmdet curves NAME=DIR ...`."""

import argparse

from matplotlib.figure import Figure

from pcka_mmdet.report.curves import along, draw
from pcka_mmdet.report.scalars import read_scalars, validation_records
from pcka_mmdet.report.theme import LEVEL_COLOURS

from .arguments import add_picture_argument, add_runs_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runs_argument(parser)
    add_picture_argument(parser, "curves.png")


def run(args: argparse.Namespace) -> None:
    logs = {name: read_scalars(folder) for name, folder in args.runs.items()}
    if missing := [str(args.runs[name]) for name, records in logs.items() if not records]:
        raise ValueError(f"{missing[0]!r} holds no log of a training: give the work directory of one")
    curves, unit = along({name: [records] for name, records in logs.items()})
    colours = dict(zip(logs, LEVEL_COLOURS * len(logs), strict=False))
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("precision", "similarity"), strict=True):
        draw(axes, kind, curves.get(kind, {}), unit, colours)
    figure.axes[0].set_ylim(bottom=0)
    figure.savefig(args.out, dpi=150)
    for name, records in logs.items():
        print(f"{name}: {len(validation_records(records))} validations, {len(records)} records")
    print(f"the plot is {args.out}")
