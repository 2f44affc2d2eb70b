"""How the gradients of task and distillation compare, from the logs of trainings with `FPNDistill(balance=...)`."""

import statistics
from collections.abc import Mapping, Sequence

from .scalars import training_records

RATIO, COSINE = "balance.ratio_", "balance.cosine_"
HEADER = ("training", "losses", "ratio before scaling", "cosine", "smallest", "largest")


def gradient_rows(logs: Mapping[str, Sequence[dict]]) -> list[list[str]]:
    """A row for each training and each part of its losses: means of the logged averages, and the range of the cosine.

    Args:
        logs: Records of trainings by name; see `read_scalars`. The first record has no ratio yet and is left out.

    Raises:
        ValueError: A training's gradients were not balanced, so its log has none of these values.
    """
    rows = []
    for name, records in logs.items():
        records = training_records(records)[1:]
        parts = sorted({key.removeprefix(RATIO) for record in records for key in record if key.startswith(RATIO)})
        if not parts:
            raise ValueError(f"the log of {name!r} has no {RATIO}*: it is of a training without balance")
        for part in parts:
            ratios, cosines = (
                [record[prefix + part] for record in records if prefix + part in record] for prefix in (RATIO, COSINE)
            )
            values = statistics.mean(ratios), statistics.mean(cosines), min(cosines), max(cosines)
            rows.append([name, part, *(f"{value:.3f}" for value in values)])
    return rows
