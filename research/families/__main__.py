"""The benchmark of families: `python -m research.families run` trains what the protocol needs next, and
`again PAIR NAME` trains a row of the results anew. `freeze` writes the choice on val, before test is read. Then `page`
computes gains with intervals from the kept detections, and writes `results.md`."""

from pathlib import Path

from research.trainings.command import run_benchmark

from . import page
from .protocol import FROZEN, STEPS
from .trials import Trial

if __name__ == "__main__":
    run_benchmark("research.families", __doc__, Path(__file__).parent, STEPS, FROZEN, Trial.of_row, page)
