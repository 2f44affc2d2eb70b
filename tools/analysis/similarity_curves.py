"""AP and CKA along trainings: `tools/analysis/similarity_curves.py NAME=DIR ...`."""

import argparse

from pcka_mmdet.commands.picture_arguments import add_picture_argument, add_runs_argument
from pcka_mmdet.commands.short_errors import run_tool
from pcka_mmdet.report.curves import plot_similarity
from pcka_mmdet.report.scalars import iterations_per_epoch, read_scalars, validation_records


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="AP and CKA along trainings.")
    add_runs_argument(parser)
    add_picture_argument(parser, "similarity.png")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
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


if __name__ == "__main__":
    run_tool(main)
