"""A training as the report reads it: its config, its log, and its detections on the test images."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mmengine.config import Config

from pcka_mmdet.checkpoints.config_text import read_config
from pcka_mmdet.checkpoints.resume import best_checkpoint, newest_intact_checkpoint
from pcka_mmdet.configuration.data_set import by_place, data_classes, image_folder, innermost, known_classes
from pcka_mmdet.configuration.distillation import STUDENT_CONFIG
from pcka_mmdet.configuration.nested import last_name

from .matches import Matches, mean_over_classes
from .scalars import read_scalars

RESULTS = Path("test", "predictions.bbox.json")
"""Detections of the last checkpoint on the test images, in COCO's format, in a work directory."""


@dataclass(frozen=True)
class Run:
    """A training whose student was tested."""

    folder: Path
    config: Config
    which: str = "last"  # the tested checkpoint, or "best", on val

    @classmethod
    def read(cls, folder: Path, which: str = "last") -> "Run":
        """A run from its work directory, whose newest config is read without running it.

        Raises:
            FileNotFoundError: There is no config.
            ValueError: The config is not as MMEngine writes it.
        """
        configs = [path for path in folder.glob("*.py") if not re.fullmatch(r"\d{8}_\d{6}", path.stem)]  # no test's
        if not configs:
            raise FileNotFoundError(f"there is no config in {str(folder)!r}: give the work directory of a training")
        # beside its config, a distillation writes that of its student, which can also be trained
        path = max(configs, key=lambda path: (path.name != STUDENT_CONFIG, path.stat().st_mtime))
        try:
            config = read_config(path.read_text())
        except ValueError as error:
            raise ValueError(f"{str(path)!r} holds code: give a work directory as a training left it") from error
        return cls(folder, Config(config.to_dict(), filename=str(path)), which)

    @property
    def results(self) -> Path:
        """File of the detections on the test images."""
        return self.folder / ("test_best" if self.which == "best" else "test") / RESULTS.name

    @property
    def seed(self) -> int | None:
        return (self.config.get("randomness") or {}).get("seed")

    @cached_property
    def records(self) -> list[dict]:
        return read_scalars(self.folder)

    @cached_property
    def notes(self) -> dict[str, str]:
        """`command` that started the training and `versions` of its packages; empty where its log lacks them."""
        logs = [log for log in self.folder.glob("*/*.log") if (log.parent / "vis_data" / "scalars.json").is_file()]
        text = max(logs).read_text(errors="replace") if logs else ""  # a test has no scalars beside its log
        stated = re.findall(r"^ +(PyTorch|MMEngine|MMCV|MMDetection): (\S+)$", text, flags=re.MULTILINE)  # by MMEngine
        notes = dict(command="", versions=", ".join(f"{name} {version}" for name, version in stated))
        return notes | dict(re.findall(r"^.*INFO - (command|versions): (.+)$", text, flags=re.MULTILINE))

    @cached_property
    def matches(self) -> Matches:
        """Objects and detections on the test images. Raises what `coco_evaluator` and `Matches` raise.

        Raises:
            ValueError: Neither the test set nor the training set states the classes.
        """
        dataset = innermost(self.config.test_dataloader.dataset)
        classes = data_classes(dataset, self.config.get("default_scope")) or known_classes(self.config)
        if classes is None:
            raise ValueError(f"the config of {str(self.folder)!r} states no classes (metainfo of its data sets)")
        return Matches(Path(coco_evaluator(self.config)[1]["ann_file"]), self.results, classes)

    @cached_property
    def average_precision(self) -> float:
        """AP on the test images."""
        once = np.ones((1, len(self.matches.images)))
        return float(mean_over_classes(self.matches.average_precision(once))[0])

    def picture(self, image: int | str) -> Path:
        """File of a test image."""
        return Path(image_folder(innermost(self.config.test_dataloader.dataset)), self.matches.file_names[image])


def check_same_data(runs: Sequence[Run]) -> None:
    """Raise `ValueError` if a training was tested on other images, classes or objects than the first."""
    first = runs[0]
    for run in runs:
        if (run.matches.classes, run.matches.objects) != (first.matches.classes, first.matches.objects):
            raise ValueError(
                f"{str(run.folder)!r} was tested on other images, classes or objects than {str(first.folder)!r}: "
                "compare trainings on one data set"
            )


def comparable_runs(folders: Mapping[str, Path]) -> dict[str, Run]:
    """The runs of work directories by name; see `tested` and `check_same_data`."""
    runs = tested(list(folders.values()))
    check_same_data(runs)
    return dict(zip(folders, runs, strict=True))


def coco_evaluator(config: Config) -> tuple[str, dict]:
    """Place of the `CocoMetric` of boxes in a config, such as `test_evaluator.0`, and that metric.

    Raises:
        ValueError: There is none with an annotation file.
    """
    metrics = by_place(config, "test_evaluator")
    for place, metric in metrics.items():
        is_coco = last_name(metric["type"]) == "CocoMetric" and metric.get("ann_file")
        if is_coco and "bbox" in metric.get("metric", "bbox"):
            return place, metric
    there = [(metric.get("type"), metric.get("metric")) for metric in metrics.values()]
    raise ValueError(
        "the report compares boxes in COCO's format: it needs a CocoMetric with an ann_file and metric='bbox' in "
        f"test_evaluator, and there is {there}"
    )


def tested(folders: Sequence[Path], which: str = "last") -> list[Run]:
    """The runs of work directories; those whose checkpoint was not tested are tested.

    `'last'` is the newest checkpoint, or the best one where a training keeps only that; `'best'` is the best on val.

    Raises:
        ValueError: A test failed, or there is no checkpoint to test; see also `coco_evaluator`.
    """
    runs = [Run.read(folder, which) for folder in folders]
    for run in runs:
        best = best_checkpoint(run.folder)
        checkpoint = best if which == "best" else newest_intact_checkpoint(run.folder) or best
        since = checkpoint.stat().st_mtime if checkpoint else 0
        if run.results.is_file() and run.results.stat().st_mtime >= since:
            continue
        if checkpoint is None and which == "best":
            raise ValueError(
                f"there is no best_*.pth in {str(run.folder)!r}: set default_hooks.checkpoint.save_best=auto, or "
                "write --which last"
            )
        if checkpoint is None:
            raise ValueError(f"there is no checkpoint in {str(run.folder)!r}: finish that training first")
        print(f"testing {checkpoint}", flush=True)
        words = words_of_test(run.config, run.config.filename, checkpoint, run.results)
        done = subprocess.run([sys.executable, "-m", "pcka_mmdet", "test", *words], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"the test of {checkpoint} failed: {done.stderr.strip()}")
    return runs


def words_of_test(config: Config, config_file: str | Path, checkpoint: str | Path, results: Path) -> list[str]:
    """Arguments of `pcka-mmdet test` that write the detections to `results`. Raises what `coco_evaluator` raises."""
    place, _ = coco_evaluator(config)
    prefix = results.with_name(results.name.partition(".")[0])
    options = ["--work-dir", results.parent, "--cfg-options", f"{place}.outfile_prefix='{prefix}'"]
    return list(map(str, [config_file, checkpoint, *options]))
