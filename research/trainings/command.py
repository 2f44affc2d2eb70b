"""The command line of a benchmark: `python -m research.NAME ACTION`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

from .frozen import Frozen
from .queue import ChangedCode, Queue, Step, fail
from .results import Missing, Places, Results, Trial
from .run_stages import ChildFailed


def make_parser(package: str, description: str | None, actions: Sequence[str], here: Path) -> argparse.ArgumentParser:
    """The parser; `here` is the benchmark's folder, which holds its results."""
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
    parser.add_argument("action", choices=actions)
    parser.add_argument("row", nargs="*", metavar="PAIR NAME", help="for `again`: the row of the results")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of MobileNetV2, for trainings")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs") / here.name)
    parser.add_argument("--results", type=Path, default=here / "results")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one thread each")
    return parser


def places_of(args: argparse.Namespace) -> Places:
    """Where the trainings read and write."""
    weights = args.weights or Path("weights.pth")
    return Places(args.work_dir.resolve(), args.data_root.resolve(), weights.resolve())


def train(
    args: argparse.Namespace,
    steps: Sequence[Step],
    of_row: Callable[[dict], Trial],
    package: str,
    pretrained: bool = True,
) -> None:
    """`run`: train what the steps need; `again`: train one row anew. `pretrained`: whether some start from weights.

    Raises:
        ValueError: There are no weights.
    """
    if pretrained and args.weights is None:
        raise ValueError(f"{args.action} needs --weights: the ImageNet weights of MobileNetV2")
    console, results = Console(width=160), Results(args.results)
    queue = Queue(steps, results, places_of(args), args.jobs, console, f"python -m {package} again")
    if args.action == "run":
        queue.run()
        return
    pair, name = args.row
    row = results.rows(pair)[name]
    value = queue.again(of_row(row))
    console.print(f"{pair} {name}: val {value:.3f}, recorded {row['val']:.3f}", highlight=False)


def run_benchmark(
    package: str,
    description: str | None,
    here: Path,
    steps: Sequence[Step],
    frozen: Frozen,
    of_row: Callable[[dict], Trial],
    page: ModuleType,
) -> None:
    """The command of a benchmark whose choice is `Frozen`.

    Args:
        package: Its name, for messages.
        description: What its actions do.
        here: Its folder.
        steps: Its protocol.
        frozen: The trainings of its results.
        of_row: The trial of a row of results.
        page: Its module `page`, with `page(results, places)` and `FILE`.
    """

    def main() -> None:
        args = make_parser(package, description, ["run", "again", "freeze", "page"], here).parse_args()
        results = Results(args.results)
        if args.action in ("run", "again"):
            train(args, steps, of_row, package)
        elif args.action == "freeze":
            frozen.freeze(results)
        else:
            page.FILE.write_text(page.page(results, places_of(args)))

    with_messages(main)


def with_messages(main: Callable[[], None]) -> None:
    """Run a command. It ends with a message where a user can help, and no traceback."""
    try:
        main()
    except (ChangedCode, ChildFailed, Missing, ValueError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail(RuntimeError("interrupted: the same command goes on from the last complete epochs"))
