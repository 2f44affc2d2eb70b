"""Label images by a teacher: `pcka-mmdet pseudo-label TEACHER CHECKPOINT IMAGES --out pseudo.json`."""

import argparse
import math
import os
from pathlib import Path

from rich.console import Console

from pcka_mmdet.pseudo_labels.label import PseudoLabels, pseudo_label
from pcka_mmdet.pseudo_labels.sources import ResultFiles
from pcka_mmdet.report.theme import console_table

from .arguments import add_cfg_options, add_launcher, check_launcher, share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="TEACHER CHECKPOINT IMAGES", help=argparse.SUPPRESS)
    parser.usage = (
        "pcka-mmdet pseudo-label TEACHER CHECKPOINT IMAGES --out FILE [options]\n"
        "       pcka-mmdet pseudo-label IMAGES --results FILE --out FILE [options]"
    )
    parser.description = (
        "Write the boxes that a teacher finds in images as an annotation file in COCO's format. TEACHER is its config; "
        "IMAGES is a folder, a .txt file with a path a line from its own folder, or a COCO file as FILE.json:FOLDER."
    )
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    what = "labelled images that choose the thresholds: FILE.json:FOLDER or a config (default: the teacher's val set)"
    parser.add_argument("--val", metavar="LABELLED", help=what)
    parser.add_argument("--precision", type=share, help="the lowest thresholds with this precision (default: best F1)")
    parser.add_argument("--threshold", type=share, metavar="SCORE", help="one threshold for all classes, without --val")
    what = "refuse a teacher whose AP on the labelled images is lower"
    parser.add_argument("--at-least", type=share, default=0.0, metavar="AP", help=what)
    what = "another teacher; the boxes of all are fused. May be repeated"
    parser.add_argument("--also", nargs=2, action="append", default=[], metavar=("TEACHER", "CHECKPOINT"), help=what)
    parser.add_argument("--tta", action="store_true", help="see each image at two sizes, and mirrored")
    what = "detections in COCO's format, in place of a teacher"
    parser.add_argument("--results", type=Path, metavar="FILE", help=what)
    parser.add_argument("--val-results", type=Path, metavar="FILE", help="likewise of the labelled images")
    what = 'JSON file {"class or id in --results": "class of ours"}; null leaves a class out'
    parser.add_argument("--classes", type=Path, metavar="MAP", help=what)
    add_cfg_options(parser, "override settings of the teacher's config")
    add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    check_launcher(args)
    wanted = 1 if args.results else 3
    if len(args.words) != wanted:
        raise ValueError(
            f"give {'IMAGES --results FILE' if args.results else 'TEACHER CHECKPOINT IMAGES'}: got {args.words}"
        )
    if args.results and (args.also or args.tta or args.cfg_options):
        raise ValueError("--also, --tta and --cfg-options are for teachers that run, and --results is a file")
    if not args.results and (args.val_results or args.classes):
        raise ValueError("--val-results and --classes go with --results")
    if args.threshold is not None and (args.val or args.precision or args.at_least or args.val_results):
        raise ValueError("--threshold takes the place of --val: leave out --precision, --at-least and --val-results")
    *teacher, images = args.words
    sides = ResultFiles(args.results, args.val_results, args.classes) if args.results else [teacher, *args.also]
    names = ("val", "threshold", "precision", "at_least", "tta", "cfg_options", "launcher")
    labels = pseudo_label(sides, images, args.out, **{name: getattr(args, name) for name in names})
    if int(os.environ.get("RANK", 0)) == 0:
        show(labels, Console())


def show(labels: PseudoLabels, console: Console) -> None:
    """Print what the file holds, and how good its boxes are on the labelled images."""
    counts = labels.counts
    header = ["class", "sure from", "unsure from", "precision", "recall", "boxes", "boxes an image"]
    rows = [
        [one.name, *map(_number, (one.sure, one.unsure, one.precision, one.recall))]
        + [str(counts.sure[one.name]), f"{counts.sure[one.name] / counts.images:.2f}"]
        for one in labels.thresholds
    ]
    title = None if labels.ap is None else f"precision and recall on labelled images, AP {labels.ap:.3f}"
    console.print(console_table(header, rows, title=title))
    console.print(
        f"{labels.file}: {counts.images} images, {sum(counts.sure.values())} boxes, {counts.unsure} ignored ones; "
        f"{counts.empty} images without a box",
        highlight=False,
        soft_wrap=True,
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else ""
