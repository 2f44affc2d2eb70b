"""Trainings and tests that run once: finished ones are skipped, interrupted ones continue."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.checkpoints.files import file_sha256
from pcka_mmdet.configuration.complexity import complexity_in_test
from pcka_mmdet.configuration.data_set import all_innermost, annotation_file
from pcka_mmdet.configuration.schedule import training_iterations
from pcka_mmdet.report import scalars
from pcka_mmdet.report.run import RESULTS, words_of_test
from research.provenance import provenance

COSTS = {"teacher": 2.5, "student": 1.0, "distilled": 1.4}
"""Seconds per iteration relative to the student's; for the remaining time, until the pace is measured."""


class Stage:
    """A step of a run: a child process writes results to a folder, with a record of their inputs.

    Args:
        name: Name on the console.
        folder: Folder of the results.
        inputs: All that the results depend on, as JSON values. When they change, the stage runs anew.
        requires: Stages that must be done before.
    """

    log_name = "log.txt"
    iterations = 0
    cost = 0.0

    def __init__(self, name: str, folder: Path, inputs: Any, requires: Sequence["Stage"] = ()):
        self.name = name
        self.folder = folder
        self.requires = tuple(requires)
        parts = json.dumps([inputs, *(stage.fingerprint for stage in requires)], sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()

    @property
    def log(self) -> Path:
        """File of the console output."""
        return self.folder / self.log_name

    def arguments(self) -> list[str]:
        """Arguments of Python."""
        raise NotImplementedError

    def products(self) -> list[Path]:
        """Files that exist when the stage is done."""
        return []

    def summary(self) -> dict:
        """Results for the record."""
        return {}

    def iterations_done(self) -> int:
        """Iterations done so far, including those of an interrupted run that it continues."""
        return self.iterations if self.is_done() else 0

    def pace(self) -> float:
        """Measured seconds per iteration; 0 if unknown."""
        return 0.0

    @property
    def record(self) -> dict:
        """Content of `stage.json`: `fingerprint`, `done`, `provenance` of the run that began it and, once done, the
        summary; empty without a file."""
        try:
            return json.loads((self.folder / "stage.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def is_done(self) -> bool:
        """Whether all products exist, and were made from the current inputs."""
        record = self.record
        return bool(
            record.get("done")
            and record["fingerprint"] == self.fingerprint
            and all(product.exists() for product in self.products())
        )

    def prepare(self) -> Path | None:
        """Prepare the folder for the child. A folder made from other inputs is moved to the path that is returned."""
        moved = None
        if self.folder.exists() and self.record.get("fingerprint") != self.fingerprint:
            moved = _free_name(self.folder)
            self.folder.rename(moved)
        self.folder.mkdir(parents=True, exist_ok=True)
        began = self.record  # of earlier code it has no provenance
        self._write(done=False, provenance=began.get("provenance") if began else provenance())
        return moved

    def finish(self) -> None:
        """Record that the stage is done."""
        self._write(done=True, provenance=self.record.get("provenance"), **self.summary())

    def _write(self, **entries: Any) -> None:
        write_json(self.folder / "stage.json", {"fingerprint": self.fingerprint, **entries})


class Training(Stage):
    """A training by `tools/train.py`, resumed from its last epoch if it was interrupted.

    Args:
        name: Name on the console.
        folder: Work directory. The config is written beside it, as `FOLDER.py`.
        config: The complete config.
        cost: Seconds per iteration relative to other trainings, for the remaining time until the pace is measured.
        requires: Stages that must be done before, such as the teacher's training.
        options: Options of `train` besides the config.
    """

    log_name = "train.log"

    def __init__(
        self,
        name: str,
        folder: Path,
        config: Config,
        cost: float = 1.0,
        requires: Sequence[Stage] = (),
        options: Sequence[str] = (),
    ):
        files = map(annotation_file, all_innermost(config.train_dataloader.dataset))
        annotations = "".join(map(file_sha256, files))
        inputs = [config.to_dict(), annotations, *([list(options)] if options else [])]
        super().__init__(name, folder, inputs, requires)
        self.config = config
        self.options = tuple(options)
        self.config_file = folder.with_name(f"{folder.name}.py")
        self.checkpoint = folder / f"epoch_{config.train_cfg.max_epochs}.pth"
        self.iterations = training_iterations(config)
        self.cost = cost

    @property
    def as_teacher(self) -> tuple[Path, Path]:
        """Config file and checkpoint, for the config of a distillation."""
        return self.config_file, self.checkpoint

    @property
    def teacher_options(self) -> dict[str, Any]:
        """`teacher` and `teacher_ckpt` of an `FPNDistill`."""
        return dict(teacher=dict(cfg_path=str(self.config_file)), teacher_ckpt=str(self.checkpoint))

    def arguments(self) -> list[str]:
        """`tools/train.py`, which starts or resumes."""
        files = [str(self.config_file), "--work-dir", str(self.folder)]
        return ["-m", "pcka_mmdet", "train", *files, "--resume", "auto", *self.options]

    def products(self) -> list[Path]:
        """The last epoch's checkpoint."""
        return [self.checkpoint]

    def prepare(self) -> Path | None:
        """Write the config too."""
        moved = super().prepare()
        self.write_config()
        return moved

    def write_config(self) -> None:
        """Write the config and those of the required trainings: a distillation reads its teacher's."""
        self.config.dump(self.config_file)
        for required in self.requires:
            if isinstance(required, Training):
                required.write_config()

    def summary(self) -> dict:
        """Training seconds, and the metrics of the last validation."""
        records = scalars.read_scalars(self.folder)
        validations = list(scalars.validation_records(records).values())
        return {
            "seconds": round(scalars.training_seconds(records, self.iterations), 1),
            "val": validations[-1] if validations else {},
        }

    def iterations_done(self) -> int:
        """Iteration of the newest log record."""
        if self.is_done():
            return self.iterations
        return next((record["iter"] for record in reversed(self._records()) if "iter" in record), 0)

    def pace(self) -> float:
        """Seconds per iteration of the whole training once it is done, before that of its last records."""
        if self.is_done():
            return self.record["seconds"] / self.iterations
        times = [record["time"] for record in self._records() if "iter" in record][-4:]
        return sum(times) / len(times) if times else 0.0

    def _records(self) -> list[dict]:
        same = self.record.get("fingerprint") == self.fingerprint
        return scalars.read_scalars(self.folder) if same else []


class Evaluation(Stage):
    """The test of a training's last checkpoint by `tools/test.py`, in the training's folder."""

    log_name = "test.log"

    def __init__(self, training: Training):
        super().__init__(f"{training.name}, test", training.folder / "test", "test", [training])
        self.training = training

    def prepare(self) -> Path | None:
        """Write the training's config too, since it may have been deleted."""
        self.training.write_config()
        return super().prepare()

    def arguments(self) -> list[str]:
        """`tools/test.py`, which writes the detections."""
        training = self.training
        words = words_of_test(training.config, training.config_file, training.checkpoint, training.folder / RESULTS)
        return ["-m", "pcka_mmdet", "test", *words]

    def products(self) -> list[Path]:
        """File of the detections."""
        return [self.training.folder / RESULTS]

    def summary(self) -> dict:
        """COCO's metrics on the test split, parameters and multiply-adds."""
        return {"test": scalars.read_test_metrics(self.folder), **complexity_in_test(self.training.config)}


class Labelling(Stage):
    """Boxes of a teacher for images without labels, by `pcka-mmdet pseudo-label`, at its thresholds of the best F1 on
    val.

    Args:
        teacher: The teacher's training.
        images: The images: `FILE.json:FOLDER`.
    """

    log_name = "labelling.log"

    def __init__(self, teacher: Training, images: str):
        super().__init__(f"{teacher.name}, its boxes", teacher.folder / "boxes", images, [teacher])
        self.teacher, self.images = teacher, images

    @property
    def file(self) -> Path:
        """The boxes, as annotations in COCO's format."""
        return self.folder / "pseudo.json"

    def prepare(self) -> Path | None:
        """Write the teacher's config too, since it may have been deleted."""
        self.teacher.write_config()
        return super().prepare()

    def arguments(self) -> list[str]:
        """`pcka-mmdet pseudo-label`."""
        teacher = self.teacher
        words = [str(teacher.config_file), str(teacher.checkpoint), self.images, "--out", str(self.file)]
        return ["-m", "pcka_mmdet", "pseudo-label", *words]

    def products(self) -> list[Path]:
        """The file of annotations."""
        return [self.file]


def with_requirements(stages: Sequence[Stage]) -> list[Stage]:
    """The stages and all that they require, each once and after its requirements."""
    ordered: dict[Stage, None] = {}
    for stage in stages:
        ordered.update(dict.fromkeys([*with_requirements(stage.requires), stage]))
    return list(ordered)


def _free_name(folder: Path) -> Path:
    number = 1
    while (name := folder.with_name(f"{folder.name}.old{number}")).exists():
        number += 1
    return name
