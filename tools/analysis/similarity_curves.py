"""AP and CKA along trainings, with patches and without: `tools/analysis/similarity_curves.py NAME=DIR ...`."""

import argparse
from pathlib import Path

from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.report.curves import plot_similarity
from pcka_mmdet.report.scalars import read_scalars, validation_records


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="AP and CKA along trainings.")
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR", help="work directories of trainings, with their names")
    parser.add_argument("--out", type=Path, default=Path("similarity.png"), help="default: %(default)s")
    args = parser.parse_args()
    if any("=" not in run for run in args.runs):
        parser.error("write NAME=DIR for each training, such as patches=work_dirs/pcka")
    return args


def iterations_per_epoch(records: list[dict]) -> float:
    """Iterations of an epoch, by the last record of an epoch and of an iteration."""
    iteration = max((record["iter"] for record in records if "iter" in record), default=0)
    epoch = max((record["epoch"] for record in records if "epoch" in record), default=0)
    if not iteration or not epoch:
        raise SystemExit("a work directory holds no log of a training by epochs: give the folder of tools/train.py")
    return iteration / epoch


def main() -> None:
    args = parse_args()
    folders = {name: Path(folder) for name, _, folder in (run.partition("=") for run in args.runs)}
    logs = {name: read_scalars(folder) for name, folder in folders.items()}
    plot_similarity(logs, {name: iterations_per_epoch(records) for name, records in logs.items()}, args.out)
    for name, records in logs.items():
        validations = validation_records(records)
        print(f"{name}: {len(validations)} validations, {len(records)} records")
    print(f"the plot is {args.out}")


if __name__ == "__main__":
    run_tool(main)
