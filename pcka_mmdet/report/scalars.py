"""Read MMEngine's logs from a work directory.

A training logs to `TIMESTAMP/vis_data/scalars.json`, one JSON object per line; a resumed one uses a new `TIMESTAMP`. A
test writes its metrics to `TIMESTAMP/TIMESTAMP.json`.
"""

import json
import math
import statistics
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from pcka_mmdet.configuration.data_set import METRIC, find_metric

ACCURACY = "accuracy/top1"  # metric of a classifier, in percent


def read_scalars(folder: Path) -> list[dict]:
    """The records of a training in order, without those that a later run repeats.

    A run that resumes, or begins again, replaces the records of earlier runs from one interval before its first record.
    """
    records: list[dict] = []
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        newer = []
        for line in path.read_text(errors="replace").splitlines():
            try:
                newer.append(json.loads(line))
            except json.JSONDecodeError:  # the last line, incomplete: the run was killed or is writing it
                break
        first, second, *_ = [*(record["iter"] for record in newer if "iter" in record), math.inf, math.inf]
        start = first - (second - first) if second < math.inf else first - 1
        records = [*takewhile(lambda record, start=start: record.get("iter", 0) <= start, records), *newer]  # type: ignore[misc]
    return records


def training_records(records: Sequence[dict]) -> list[dict]:
    """Records of training iterations, without those of validations."""
    return [record for record in records if "iter" in record]


def training_seconds(records: Sequence[dict], iterations: int) -> float:
    """Seconds of `iterations` of training, with data loading, without validation and interruptions.

    A record gives the mean time of the iterations before it. Those after the last record are assumed to be as fast.
    """
    seconds, done, pace = 0.0, 0, 0.0
    for record in training_records(records):
        pace = record.get("time", 0.0)  # without MMEngine's timer there is none
        seconds += pace * (record["iter"] - done)
        done = record["iter"]
    return seconds + pace * (iterations - done)


def median_step(records: Sequence[dict]) -> float | None:
    """Median seconds of a training step; `None` without a log of one."""
    times = [record["time"] for record in training_records(records) if "time" in record]
    return statistics.median(times) if times else None


def iterations_per_epoch(records: Sequence[dict]) -> float | None:
    """Iterations of an epoch; `None` without a log of a training by epochs.

    MMEngine logs at the same places of each epoch, so it is the distance of the first records of two epochs. Without
    two records at the same place, it is at least the iteration over the epoch of each record.
    """
    epochs = {r["iter"]: r["epoch"] for r in training_records(records) if r.get("epoch")}
    least = max((iteration / epoch for iteration, epoch in epochs.items()), default=None)
    first = {epoch: iteration for iteration, epoch in sorted(epochs.items(), reverse=True)}
    distances = [first[epoch + 1] - iteration for epoch, iteration in first.items() if epoch + 1 in first]
    length = statistics.mode(distances) if distances else 0
    fits = all((epoch - 1) * length < iteration <= epoch * length for iteration, epoch in epochs.items())
    return length if distances and fits else least


def validation_records(records: Sequence[dict]) -> dict[int, dict[str, float]]:
    """Metrics of each validation by epoch, in trainings by iterations by iteration; see `metrics` for their names."""
    validations, iteration = {}, 0
    for record in records:
        iteration = record.get("iter", iteration)
        if "iter" not in record:
            validations[record["step"] or iteration] = metrics(record)  # MMEngine writes 0 where there are no epochs
    return dict(sorted(validations.items()))


def last_metric(folder: Path, metric: str = METRIC) -> float:
    """AP, or another metric, of the last validation in a work directory; `ValueError` if its log has none."""
    validations = [record for record in read_scalars(folder) if "iter" not in record]
    if not validations:
        raise ValueError(f"there is no validation in the log of {str(folder)!r}: name the work directory of a training")
    given = metrics(validations[-1]) | {name: value for name, value in validations[-1].items() if "/" in name}
    named = find_metric(given, metric)
    if named is None:
        raise ValueError(
            f"the validations of {str(folder)!r} have no {metric}, only {', '.join(given)}: name one in the config, "
            f"teacher_check=dict(metric={next(iter(given))!r})"
        )
    return named[1]


def metrics(record: dict) -> dict[str, float]:
    """COCO's metrics in the record of a validation or test: `bbox_mAP`, `bbox_mAP_50` ...; -1 where COCO has no value.

    MMDetection logs no metric if nothing was detected; then `bbox_mAP` is 0. A classifier has only `ACCURACY`. Without
    COCO's metrics, the metrics (`pascal_voc/mAP`) keep their whole names.
    """
    if ACCURACY in record:
        return {ACCURACY: float(record[ACCURACY])}
    named = {key: float(value) for key, value in record.items() if "/" in key and isinstance(value, int | float)}
    coco: dict[str, float] = {}
    for key, value in named.items():
        name = key.rpartition("/")[2]
        if name.startswith(METRIC):
            coco.setdefault(name, value)  # the first of several evaluators
    return coco or named or {METRIC: 0.0}


def read_test_metrics(folder: Path) -> dict[str, float]:
    """Metrics of the newest test in a work directory; `FileNotFoundError` if it holds no finished test."""
    files = sorted(path for path in folder.glob("*/*.json") if path.stem == path.parent.name)
    if not files:
        raise FileNotFoundError(f"no metrics of a test in {str(folder)!r}: expected TIMESTAMP/TIMESTAMP.json in it")
    return metrics(json.loads(files[-1].read_text()))
