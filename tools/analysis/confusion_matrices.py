"""Confusion matrices of student and distilled student: `tools/analysis/confusion_matrices.py work_dirs/demo`."""

import argparse
from pathlib import Path

from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.report.confusion import confusion_matrix, plot_confusion
from pcka_mmdet.report.predictions import read_ground_truth, read_predictions


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Confusion matrices of the methods in a work directory.")
    parser.add_argument("work_dir", type=Path, help="work directory of tools/demo.py")
    parser.add_argument("--methods", nargs="+", default=["student", "distilled"], help="default: student distilled")
    parser.add_argument("--threshold", type=float, default=0.3, help="lowest score that counts (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="default: confusion.png in the work directory")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    matrices = {}
    for method in args.methods:
        file = args.work_dir / method / "test" / "predictions.pkl"
        if not file.is_file():
            raise SystemExit(f"there are no predictions at {str(file)!r}: finish tools/demo.py in that folder first")
        dataset = load_config(str(args.work_dir / f"{method}.py")).test_dataloader.dataset
        classes = dataset.metainfo.classes
        truth = read_ground_truth(annotation_file(dataset), classes)
        matrices[method] = confusion_matrix(truth, read_predictions(file), len(classes), args.threshold)
    out = args.out or args.work_dir / "confusion.png"
    plot_confusion(matrices, classes, out)
    for method, matrix in matrices.items():
        right = matrix[:-1, :-1].trace()
        print(
            f"{method}: {right} right, {matrix[:-1, :-1].sum() - right} of another class, "
            f"{matrix[:-1, -1].sum()} objects missed, {matrix[-1].sum()} detections without an object"
        )
    print(f"the plot is {out}")


if __name__ == "__main__":
    run_tool(main)
