"""Report of a distillation as one HTML page: `tools/report.py work_dirs/distilled --baseline work_dirs/student`.

Without a baseline it is the report of one training. Checkpoints that were not tested yet are tested first: the last
one of each training, or by `--which best` the best on val. Give several folders on both sides for several seeds.
"""

import argparse
from pathlib import Path

from pcka_mmdet.report.page import write_page
from pcka_mmdet.report.page.scores import SAMPLES
from pcka_mmdet.report.run import tested


def add_arguments(parser: argparse.ArgumentParser) -> None:
    folder = dict(type=Path, metavar="WORK_DIR")
    parser.add_argument("work_dir", type=Path, nargs="+", help="work directory of the distillation; of several seeds")
    parser.add_argument("--baseline", nargs="+", default=[], help="the student's training, to compare with", **folder)
    parser.add_argument("--teacher", help="training of the teacher", **folder)
    what = "checkpoint of each training (default: %(default)s)"
    parser.add_argument("--which", choices=("last", "best"), default="last", help=what)
    parser.add_argument("--out", type=Path, help="file to write (default: report.html in the first work directory)")


def run(args: argparse.Namespace) -> None:
    given = [folder.resolve() for folder in (*args.work_dir, *args.baseline)]
    if twice := sorted({str(folder) for folder in given if given.count(folder) > 1}):
        raise ValueError(f"{twice[0]!r} is given twice: each training counts once")
    distilled, plain = tested(args.work_dir, args.which), tested(args.baseline, args.which)
    teacher = tested([args.teacher], args.which)[0] if args.teacher else None
    out = args.out or args.work_dir[0] / "report.html"
    print(f"drawing {SAMPLES:,} samples of the test images", flush=True)  # a minute for each training on COCO
    result = write_page(plain, distilled, teacher, out)
    print(f"{result}\nthe page is {out}")
