"""Annotated test images of several runs, with patches and without: `tools/analysis/detections.py NAME=FILE ...`."""

import argparse
from pathlib import Path

from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.report.gallery import plot_gallery
from pcka_mmdet.report.predictions import read_ground_truth, read_predictions


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Annotated test images of several runs.")
    parser.add_argument(
        "runs", nargs="+", metavar="NAME=FILE", help="predictions by tools/test.py --out FILE, with their names"
    )
    parser.add_argument("--config", required=True, help="config of one of them, for its test images and classes")
    parser.add_argument("--images", type=int, default=3, help="evenly spaced in the set (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.3, help="lowest score shown (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("detections.png"), help="default: %(default)s")
    args = parser.parse_args()
    if any("=" not in run for run in args.runs):
        parser.error("write NAME=FILE for each run, such as patches=work_dirs/pcka/test/predictions.pkl")
    return args


def main() -> None:
    args = parse_args()
    dataset = load_config(args.config).test_dataloader.dataset
    classes = dataset.metainfo.classes
    files = {name: Path(file) for name, _, file in (run.partition("=") for run in args.runs)}
    missing = [str(file) for file in files.values() if not file.is_file()]
    if missing:
        raise SystemExit(
            f"there are no predictions at {missing}: write them by tools/test.py CONFIG CHECKPOINT --out FILE"
        )
    predictions = {name: read_predictions(file) for name, file in files.items()}
    truth = read_ground_truth(annotation_file(dataset), classes)
    plot_gallery(truth, predictions, classes, args.out, args.images, args.threshold)
    print(f"the plot is {args.out}")


if __name__ == "__main__":
    run_tool(main)
