"""The benchmark of few labels: `python -m research.few_labels run` trains what the protocol needs next, and
`again PAIR NAME` trains a row of the results anew. `freeze` writes the choice on val, before test is read. Then `page`
computes gains with intervals from the kept detections, and writes `results.md`."""

from pathlib import Path

from research.trainings.command import make_parser, places_of, train, with_messages
from research.trainings.results import Results

from . import page
from .protocol import FROZEN, STEPS
from .trials import Trial

PACKAGE = "research.few_labels"


def main() -> None:
    args = make_parser(PACKAGE, __doc__, ["run", "again", "freeze", "page"], Path(__file__).parent).parse_args()
    results = Results(args.results)
    if args.action in ("run", "again"):
        train(args, STEPS, Trial.of_row, PACKAGE)
    elif args.action == "freeze":
        FROZEN.freeze(results)
    else:
        page.FILE.write_text(page.page(results, places_of(args)))


if __name__ == "__main__":
    with_messages(main)
