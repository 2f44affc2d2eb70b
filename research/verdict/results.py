"""The file of a pair's results: one row a training, with all that it depends on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcka_mmdet.checkpoints.atomic_write import write_json

from .trials import Trial


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

    def has(self, trial: Trial) -> bool:
        """Whether a training has its result, on test too if it is tested."""
        row = self.rows(trial.pair).get(trial.name)
        return row is not None and (row.get("test") is not None or not trial.tested)

    def write(self, trial: Trial, row: dict[str, Any]) -> None:
        """Add a row; one that is there keeps what the new one lacks."""
        rows = self.rows(trial.pair)
        rows[trial.name] = rows.get(trial.name, {}) | row
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / f"{trial.pair}.json", dict(sorted(rows.items())))
