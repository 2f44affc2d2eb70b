"""A training as the report reads it: its config, its log, and its detections on the test images."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mmengine.config import Config

from pcka_mmdet.checkpoints.config_text import read_config
from pcka_mmdet.configuration.data_set import data_classes, evaluators, innermost, known_classes
from pcka_mmdet.configuration.distillation import STUDENT_CONFIG
from pcka_mmdet.configuration.nested import last_name

from .bootstrap import Matches, mean_over_classes
from .predictions import Boxes, read_ground_truth, read_results
from .scalars import read_scalars

RESULTS = Path("test", "predictions.bbox.json")
"""Detections of the last checkpoint on the test images, in COCO's format, in a work directory."""

BEST_RESULTS = Path("test_best", RESULTS.name)
"""The same of the best checkpoint on val."""


@dataclass(frozen=True)
class Run:
    """A training whose student was tested."""

    folder: Path
    config: Config
    which: str = "last"
    """The checkpoint that is tested: `'last'`, or `'best'` on val."""

    @classmethod
    def read(cls, folder: Path, which: str = "last") -> "Run":
        """A run from its work directory, whose config is read as data.

        Raises:
            FileNotFoundError: See `config_in`.
            ValueError: The config is not as MMEngine writes it.
        """
        path = config_in(folder)
        try:
            config = read_config(path.read_text())
        except ValueError as error:
            raise ValueError(
                f"{str(path)!r} holds more than settings: give a work directory as a training left it"
            ) from error
        return cls(folder, Config(config.to_dict(), filename=str(path)), which)

    @property
    def results(self) -> Path:
        """File of the detections on the test images."""
        return self.folder / (BEST_RESULTS if self.which == "best" else RESULTS)

    @property
    def seed(self) -> int | None:
        """Seed of the config."""
        return (self.config.get("randomness") or {}).get("seed")

    @cached_property
    def records(self) -> list[dict]:
        """See `scalars.read_scalars`."""
        return read_scalars(self.folder)

    @cached_property
    def command(self) -> str | None:
        """The command that started the training, as its log says; `None` for logs without it."""
        return self._noted("command")

    @cached_property
    def versions(self) -> str:
        """Versions of the packages that trained, as the log says; of a log of MMDetection's own tools those of torch
        and MMEngine. Empty for logs without them."""
        stated = re.findall(r"^ +(PyTorch|MMEngine|MMCV|MMDetection): (\S+)$", self._log, flags=re.MULTILINE)
        return self._noted("versions") or ", ".join(f"{name} {version}" for name, version in stated)

    @cached_property
    def _log(self) -> str:
        """Text of the newest log of the training; a test's has no scalars beside it."""
        logs = [log for log in self.folder.glob("*/*.log") if (log.parent / "vis_data" / "scalars.json").is_file()]
        return max(logs).read_text(errors="replace") if logs else ""

    def _noted(self, what: str) -> str | None:
        found = re.search(rf"^.*INFO - {what}: (.+)$", self._log, flags=re.MULTILINE)
        return found and found[1]

    @property
    def annotations(self) -> Path:
        """COCO file of the test images. Raises what `coco_evaluator` raises."""
        return Path(coco_evaluator(self.config)[1]["ann_file"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names.

        Raises:
            ValueError: Neither the test set nor the training set states them.
        """
        tested = innermost(self.config.test_dataloader.dataset)
        classes = data_classes(tested, self.config.get("default_scope")) or known_classes(self.config)
        if classes is None:
            raise ValueError(f"the config of {str(self.folder)!r} states no classes (metainfo of its data sets)")
        return classes

    @cached_property
    def detections(self) -> list[dict]:
        """Detections of each test image, as `predictions.read_results` gives them."""
        return read_results(self.results, self.annotations, self.classes)

    @cached_property
    def detections_by_image(self) -> dict[int | str, dict]:
        """The same by id of the image."""
        return {prediction["img_id"]: prediction for prediction in self.detections}

    @cached_property
    def matches(self) -> Matches:
        """Which of them match objects."""
        return Matches(self.annotations, self.detections, self.classes)

    @cached_property
    def average_precision(self) -> float:
        """AP on the test images."""
        once = np.ones((1, len(self.matches.images)))
        return float(mean_over_classes(self.matches.average_precision(once))[0])

    @cached_property
    def truth(self) -> dict[int | str, Boxes]:
        """Annotated boxes by image."""
        return read_ground_truth(self.annotations, self.classes)

    def picture(self, image: int | str) -> Path:
        """File of a test image."""
        dataset = innermost(self.config.test_dataloader.dataset)
        prefix = (dataset.get("data_prefix") or {}).get("img", "")
        return Path(dataset.get("data_root") or "") / prefix / self._file_names[image]

    @cached_property
    def _file_names(self) -> dict[int | str, str]:
        return {entry["id"]: entry["file_name"] for entry in json.loads(self.annotations.read_text())["images"]}


def check_same_data(runs: Sequence[Run]) -> None:
    """Refuse trainings that cannot be compared.

    Raises:
        ValueError: One was tested on other images, classes or objects than the first.
    """
    first = runs[0]
    for run in runs:
        same = (run.matches.images, run.matches.classes) == (first.matches.images, first.matches.classes)
        # an annotation file is large: it is read again only where there are two
        if not same or (run.annotations.resolve() != first.annotations.resolve() and run.truth != first.truth):
            raise ValueError(
                f"{str(run.folder)!r} was tested on other images, classes or objects than {str(first.folder)!r}: "
                "compare trainings on one data set"
            )


def coco_evaluator(config: Config) -> tuple[str, dict]:
    """Where a config has its `CocoMetric` of boxes, such as `test_evaluator.0`, and that metric.

    Raises:
        ValueError: It has none, or one without an annotation file.
    """
    metrics = evaluators(config, "test_evaluator")
    for place, metric in metrics.items():
        is_coco = last_name(metric["type"]) in ("CocoMetric", "FasterCocoMetric") and metric.get("ann_file")
        if is_coco and "bbox" in metric.get("metric", "bbox"):
            return place, metric
    there = [(metric.get("type"), metric.get("metric")) for metric in metrics.values()]
    raise ValueError(
        "the report compares boxes in COCO's format: it needs a CocoMetric with an ann_file and metric='bbox' in "
        f"test_evaluator, and there is {there}"
    )


def config_in(folder: Path) -> Path:
    """The config of a training, which MMEngine writes into its work directory.

    Raises:
        FileNotFoundError: There is none.
    """
    written = [path for path in folder.glob("*.py") if not re.fullmatch(r"\d{8}_\d{6}", path.stem)]  # not a test's
    configs = sorted((path for path in written if path.name != STUDENT_CONFIG), key=lambda path: path.stat().st_mtime)
    if not configs and (folder / STUDENT_CONFIG).is_file():  # a training of another one's student
        return folder / STUDENT_CONFIG
    if not configs:
        raise FileNotFoundError(f"there is no config in {str(folder)!r}: give the work directory of a training")
    return configs[-1]
