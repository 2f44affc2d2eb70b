"""The tuned benchmark: `python -m research.verdict run` trains what the protocol needs next, `left` shows what is left,
`again PAIR NAME` trains a row of the results anew, and `freeze` writes the choice on val, before test is read."""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.engine.lock import exclusive
from pcka_mmdet.experiments.children import ChildFailed, termination_as_interrupt

from .choice import FILE, choose
from .queue import ChangedCode, Queue, fail, yield_to_others
from .results import Missing, Results
from .trials import Trial

HERE = Path(__file__).parent


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m research.verdict", description=__doc__)
    parser.add_argument("action", choices=["run", "left", "again", "freeze"])
    parser.add_argument("row", nargs="*", metavar="PAIR NAME", help="for `again`: the row of the results")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/verdict"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one thread each")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    console = Console(width=160)
    try:
        queue = Queue(Results(args.results), args.work_dir, args.data_root, args.weights, args.jobs, console)
        if args.action == "left":
            for trial in queue.wanted():
                console.print(f"{trial.pair} {trial.name}", highlight=False)
            return
        if args.action == "again":
            pair, name = args.row
            row = queue.results.rows(pair)[name]
            value = queue.again(Trial.of_row(row))
            console.print(f"{pair} {name}: val {value:.3f}, recorded {row['val']:.3f}", highlight=False)
            return
        if args.action == "freeze":
            choose(queue.results).write(FILE)
            return
        yield_to_others()
        args.work_dir.mkdir(parents=True, exist_ok=True)
        with exclusive(args.work_dir), termination_as_interrupt():
            queue.run()
    except (ChangedCode, ChildFailed, Missing) as error:
        fail(error)
    except KeyboardInterrupt:
        fail(RuntimeError("interrupted: the same command goes on from the last complete epochs"))


if __name__ == "__main__":
    main()
