"""The tuned benchmark: `python -m research.verdict run` trains what the protocol needs next, `left` shows what is left,
`again PAIR NAME` trains a row of the results anew, and `freeze` writes the choice on val, before test is read. Then
`gains` computes intervals from the kept detections, and `page` writes `results.md` and the first pages' table."""

from pathlib import Path

from rich.console import Console

from research.trainings.command import make_parser, places_of, train, with_messages
from research.trainings.intervals import Samples
from research.trainings.results import Results

from . import first_pages, gains, page
from .choice import FILE, STEPS, Choice, choose
from .left import left, show
from .trials import Trial

PACKAGE = "research.verdict"


def main() -> None:
    actions = ["run", "left", "again", "freeze", "gains", "page"]
    args = make_parser(PACKAGE, __doc__, actions, Path(__file__).parent).parse_args()
    results = Results(args.results)
    if args.action in ("run", "again"):
        train(args, STEPS, Trial.of_row, PACKAGE)
    elif args.action == "freeze":
        choose(results).write(FILE)
    elif args.action == "left":
        show(left(results), Console(width=160))
    else:
        if args.action == "gains":
            found = gains.measure(results, Choice.read(FILE), Samples(results), places_of(args))
            gains.write(found, results.gains_file)
        found = gains.read(results.gains_file)
        page.FILE.write_text(page.page(results, found))
        first_pages.update(found)


if __name__ == "__main__":
    with_messages(main)
