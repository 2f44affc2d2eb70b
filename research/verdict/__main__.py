"""The tuned benchmark: `python -m research.verdict run` trains what the protocol needs next, `left` shows what is left,
`again PAIR NAME` trains a row of the results anew, and `freeze` writes the choice on val, before test is read. Then
`gains` computes intervals from the kept detections, and `page` writes `results.md` and the first pages' table."""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.engine.work_dir import exclusive
from research.trainings.run_stages import ChildFailed, termination_as_interrupt

from . import first_pages, gains, page
from .choice import FILE, Choice, choose
from .left import left, show
from .queue import ChangedCode, Queue, fail, yield_to_others
from .results import Missing, Results
from .trials import Trial

HERE = Path(__file__).parent


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m research.verdict", description=__doc__)
    parser.add_argument("action", choices=["run", "left", "again", "freeze", "gains", "page"])
    parser.add_argument("row", nargs="*", metavar="PAIR NAME", help="for `again`: the row of the results")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of MobileNetV2, for trainings")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/verdict"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one thread each")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    console, results = Console(width=160), Results(args.results)
    try:
        if args.action == "gains":
            found = gains.measure(results, Choice.read(FILE), gains.Samples(results, args.data_root))
            gains.write(found, results.gains_file)
        if args.action in ("gains", "page"):
            found = gains.read(results.gains_file)
            page.FILE.write_text(page.page(results, found))
            first_pages.update(found)
            return
        if args.action == "freeze":
            choose(results).write(FILE)
            return
        if args.action == "left":
            show(left(results), console)
            return
        if args.weights is None:
            raise ValueError(f"{args.action} needs --weights: the ImageNet weights of MobileNetV2")
        queue = Queue(results, args.work_dir, args.data_root, args.weights, args.jobs, console)
        if args.action == "again":
            pair, name = args.row
            row = queue.results.rows(pair)[name]
            value = queue.again(Trial.of_row(row))
            console.print(f"{pair} {name}: val {value:.3f}, recorded {row['val']:.3f}", highlight=False)
            return
        yield_to_others()
        args.work_dir.mkdir(parents=True, exist_ok=True)
        with exclusive(args.work_dir), termination_as_interrupt():
            queue.run()
    except (ChangedCode, ChildFailed, Missing, ValueError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail(RuntimeError("interrupted: the same command goes on from the last complete epochs"))


if __name__ == "__main__":
    main()
