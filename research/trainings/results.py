"""The results of trials: one file a pair, one row a training, with all that it depends on."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pcka_mmdet.checkpoints.atomic_write import atomic_write, write_json

from .stages import Training


@dataclass(frozen=True)
class Places:
    """Where trainings read and write."""

    work_dir: Path
    data_root: Path
    """Folder of all data."""
    weights: Path
    """ImageNet weights of MobileNetV2."""


class Trial(Protocol):
    """A training whose result a protocol asks for: a frozen dataclass."""

    pair: str
    tested: bool
    """Whether the test images are read too."""

    @property
    def name(self) -> str:
        """Key of the result, within those of the pair."""

    @property
    def teacher(self) -> "Trial | None":
        """The training of the teacher that this one needs."""

    def training(self, places: Places) -> Training:
        """The training, with the stages that it requires."""


class Missing(Exception):
    """Trainings whose results are needed next."""

    def __init__(self, trials: Sequence[Trial]):
        super().__init__(f"{len(trials)} trainings are missing")
        self.trials = list(trials)


class Results:
    """The rows of all pairs.

    Args:
        folder: Folder of the files, one JSON file a pair.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def rows(self, pair: str) -> dict[str, dict[str, Any]]:
        """The rows of a pair by the name of the training."""
        file = self.folder / f"{pair}.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def val(self, trials: Sequence[Trial]) -> list[float]:
        """AP on val after the last epoch of each training.

        Raises:
            Missing: Some have no result.
        """
        return self._values(trials, "val")

    def test(self, trials: Sequence[Trial]) -> list[float]:
        """AP on test after the last epoch of each training.

        Raises:
            Missing: Some were not tested.
        """
        return self._values(trials, "test")

    def _values(self, trials: Sequence[Trial], split: str) -> list[float]:
        rows = {pair: self.rows(pair) for pair in {trial.pair for trial in trials}}
        values = [rows[trial.pair].get(trial.name, {}).get(split) for trial in trials]
        if missing := [trial for trial, value in zip(trials, values, strict=True) if value is None]:
            raise Missing(missing)
        return values

    def best(self, trials: Sequence[Trial]) -> Trial:
        """The training with the highest AP on val.

        Raises:
            Missing: Some have no result.
        """
        values = self.val(trials)
        return trials[values.index(max(values))]

    def has(self, trial: Trial) -> bool:
        """Whether a training has its result, on test too if it is tested."""
        row = self.rows(trial.pair).get(trial.name)
        return row is not None and (row.get("test") is not None or not trial.tested)

    def detections(self, trial: Trial) -> Path:
        """File of the kept detections on test, in COCO's format, compressed by gzip."""
        return self.folder / "detections" / trial.pair / f"{trial.name}.json.gz"

    @property
    def gains_file(self) -> Path:
        """File of the gains on test."""
        return self.folder / "gains.json"

    def keep_detections(self, trial: Trial, file: Path) -> None:
        """Keep the detections of a file in COCO's format: boxes to 0.01 pixels, scores to four digits."""
        boxes = [
            {**box, "bbox": [round(side, 2) for side in box["bbox"]], "score": round(box["score"], 4)}
            for box in json.loads(file.read_text())
        ]
        content = json.dumps(boxes, separators=(",", ":")).encode()
        atomic_write(self.detections(trial), gzip.compress(content, mtime=0))

    def write(self, trial: Trial, row: dict[str, Any]) -> None:
        """Add a row; one that is there keeps what the new one lacks."""
        rows = self.rows(trial.pair)
        rows[trial.name] = rows.get(trial.name, {}) | row
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / f"{trial.pair}.json", dict(sorted(rows.items())))
