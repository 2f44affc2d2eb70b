"""Report of a distillation as one HTML page: `tools/report.py work_dirs/distilled --baseline work_dirs/student`.

Without a baseline it is the report of one training. Trainings whose student was not tested yet are tested first. Give
several folders on both sides for several seeds.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pcka_mmdet.checkpoints.resume import newest_intact_checkpoint
from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.report.page.page import write_page
from pcka_mmdet.report.page.run import RESULTS, Run, coco_evaluator

TEST = Path(__file__).resolve().with_name("test.py")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Report of a distillation as one HTML page.")
    parser.add_argument("work_dir", type=Path, nargs="+", help="work directory of the distillation; of several seeds")
    parser.add_argument(
        "--baseline",
        type=Path,
        nargs="+",
        default=[],
        metavar="WORK_DIR",
        help="what it is compared with: the student alone",
    )
    parser.add_argument("--teacher", type=Path, metavar="WORK_DIR", help="of the teacher")
    parser.add_argument("--out", type=Path, help="file to write (default: report.html in the first work directory)")
    return parser.parse_args()


def tested(folders: Sequence[Path]) -> list[Run]:
    """The runs of work directories; those whose newest checkpoint was not tested are tested.

    Raises:
        SystemExit: A test failed, or a folder has no checkpoint.
        ValueError: See `coco_evaluator`.
    """
    runs = [Run.read(folder) for folder in folders]
    for run in runs:
        folder, checkpoint = run.folder, newest_intact_checkpoint(run.folder)
        place, _ = coco_evaluator(run.config)
        results = folder / RESULTS
        if checkpoint is None:
            if results.is_file():
                continue
            raise SystemExit(f"there is no checkpoint in {str(folder)!r}: finish that training first")
        if results.is_file() and results.stat().st_mtime >= checkpoint.stat().st_mtime:
            continue
        print(f"testing {checkpoint}", flush=True)
        prefix = results.with_name(RESULTS.name.partition(".")[0])
        words = [run.config.filename, checkpoint, "--work-dir", folder / "test"]
        words += ["--cfg-options", f"{place}.outfile_prefix={prefix}"]
        done = subprocess.run([sys.executable, TEST, *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the test of {checkpoint} failed: {done.stderr.strip()}")
    return runs


def main() -> None:
    args = parse_args()
    try:
        distilled, plain = tested(args.work_dir), tested(args.baseline)
        teacher = tested([args.teacher])[0] if args.teacher else None
        out = args.out or args.work_dir[0] / "report.html"
        result = write_page(plain, distilled, teacher, out)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f"{result}\nthe page is {out}")


if __name__ == "__main__":
    run_tool(main)
