"""Trainings that compare methods on a data set, and the file of their results."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.checkpoints.files import file_sha256
from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.demo.config import demo_config, ensure_data
from research import code_sha256, pair_folder
from research.trainings.display import Display
from research.trainings.run_stages import run_stages
from research.trainings.stages import COSTS, Evaluation, Stage, Training, with_requirements
from research.trials import Trial

from .data_sets import DataSet
from .methods import Method

Key = tuple[str, str, float, int]
"""Regime, method, setting and seed of a training."""

TEACHER: Key = ("teacher", "teacher", 1.0, 0)
"""Key of the teacher's training."""

NOWHERE = Path("data")
"""Stands for the folder of the data where configs are compared."""


class Comparison:
    """The trainings of one data set. A training whose result is in the file is not repeated, on any machine.

    Args:
        data_set: The data set, and its name.
        methods: The methods by name.
        results: File of the results.
        work_dir: Folder of the trainings.
        data_root: Folder of all data.
        console: Output.
        jobs: Trainings at once, one thread each.
        weights: File of the backbone's initial weights, for the configs that download them; `None` downloads.
        epochs: Length of all trainings; `None` takes the data set's.

    Raises:
        FileNotFoundError: The data are missing.
        FileExistsError: See `ensure_data`.
    """

    def __init__(
        self,
        data_set: tuple[str, DataSet],
        methods: Mapping[str, Method],
        results: Path,
        work_dir: Path,
        data_root: Path,
        console: Console,
        jobs: int = 1,
        weights: Path | None = None,
        epochs: int | None = None,
    ):
        self.name, self.data_set = data_set
        self.methods, self.file, self.folder = methods, results, work_dir / self.name
        self.console = console
        self._data_root, self._weights, self._jobs, self._epochs = data_root, weights, jobs, epochs
        self._entries = self._read()
        self._digests: dict[Key, str] = {}

        length = epochs or self.data_set.teacher_epochs
        config = self._stage_config("teacher", 0, length)
        ensure_data(config, console)
        self.teacher = Training(f"{self.name} teacher", self.folder / "teacher", config, COSTS["teacher"])
        annotations = file_sha256(annotation_file(config.train_dataloader.dataset))
        tested_on = [file_sha256(annotation_file(config[f"{split}_dataloader"].dataset)) for split in ("val", "test")]
        self._facts = dict(code=code_sha256()[:16], tested_on=[digest[:16] for digest in tested_on])
        """Digests that results before commit 851204e lack: they are of several commits."""
        self._inputs = [self._stage_config("teacher", 0, length, with_paths=False).to_dict(), annotations]
        """What results depend on besides the student's config; see `_digest`."""

    def _read(self) -> dict[str, dict]:
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def results(self) -> list[Trial]:
        """The results in the file whose trainings are as these are today, in the order of the methods."""
        trials = [Trial(**entry["trial"]) for entry in self._entries.values()]
        current = [
            trial
            for trial in trials
            if trial.method in self.methods
            and self._is_done((trial.regime, trial.method, trial.setting, trial.seed), tested=False)
        ]
        return sorted(current, key=lambda trial: (list(self.methods).index(trial.method), trial.setting, trial.seed))

    def teacher_trial(self) -> Trial | None:
        """The teacher's result, if it is in the file and its training is as it is today."""
        entry = self._entries.get(_name(TEACHER))
        return Trial(**entry["trial"]) if entry and self._is_done(TEACHER, tested=False) else None

    def run(self, keys: Sequence[Key], tested: bool, lock: int) -> None:
        """Run the trainings whose results are missing, and keep each result when it is there.

        Args:
            keys: The trainings.
            tested: Whether the test split is evaluated too.
            lock: A file descriptor that the children inherit; see `session`.
        """
        wanted: dict[Stage, tuple[Key, Training]] = {}
        keys = [key for key in keys if not self._is_done(key, tested)]
        if self.teacher.is_done() or any(map(self._has_teacher, keys)):
            keys += [TEACHER] if not self._is_done(TEACHER, tested) else []
        for key in keys:
            training = self._training(key)
            wanted[Evaluation(training) if tested else training] = key, training

        def keep(stage: Stage) -> None:
            if stage not in wanted:
                return
            key, training = wanted[stage]
            test = stage.record["test"]["bbox_mAP"] if tested else None
            trial = Trial(*key, training.record["val"]["bbox_mAP"], test, training.record["seconds"])
            self._entries = self._read()  # another run may have added its results
            facts = {"trial": dataclasses.asdict(trial), "inputs": self._digest(key), **self._facts}
            before = self._entries.get(_name(key), {})  # it says what trained where an older record does not
            self._entries[_name(key)] = before | facts | (training.record.get("provenance") or {})
            write_json(self.file, dict(sorted(self._entries.items())))

        stages = with_requirements(list(wanted))
        with Display(stages, self.console, self._jobs) as display:
            run_stages(stages, display, 1, self._jobs, inherit=[lock], on_done=keep)

    def _has_teacher(self, key: Key) -> bool:
        """Whether a training depends on the teacher's, or is it."""
        return key == TEACHER or bool(self.methods[key[1]].losses)

    def _training(self, key: Key) -> Training:
        if key == TEACHER:
            return self.teacher
        teacher = dict(teacher=dict(cfg_path=str(self.teacher.config_file)), teacher_ckpt=str(self.teacher.checkpoint))
        requires = [self.teacher] if self._has_teacher(key) else []
        name, cost = _name(key), COSTS["distilled" if requires else "student"]
        config = self._config(key, teacher)
        return Training(f"{self.name} {name}", self.folder / name, config, cost, requires)

    def _stage_config(self, method: str, seed: int, epochs: int, with_paths: bool = True) -> Config:
        """The config of a training; `with_paths=False` leaves out this machine's paths, to compare configs of two."""
        options = {"train_cfg.max_epochs": epochs, "train_cfg.val_interval": epochs}
        root = str((self._data_root if with_paths else NOWHERE) / self.data_set.data)
        config = demo_config(pair_folder(self.data_set.folder), method, root, seed, options)
        if with_paths and self._weights is not None and config.model.backbone.get("init_cfg"):
            config.model.backbone.init_cfg.checkpoint = str(self._weights.resolve())
        return config

    def _config(self, key: Key, teacher: dict[str, Any], with_paths: bool = True) -> Config:
        regime, method, setting, seed = key
        epochs = self._epochs or self.data_set.num_epochs(regime, method)
        return self.methods[method].apply(self._stage_config("student", seed, epochs, with_paths), setting, teacher)

    def _is_done(self, key: Key, tested: bool) -> bool:
        entry = self._entries.get(_name(key))
        if entry is None or entry["inputs"] != self._digest(key):
            return False
        if any(entry.get(fact, digest) != digest for fact, digest in self._facts.items()):
            return False
        return entry["trial"]["test"] is not None or not tested

    def _digest(self, key: Key) -> str:
        """Digest of the configs and the training annotations, without this machine's files. Digests of the code and of
        the other annotations are beside it in an entry."""
        if key not in self._digests:
            teacher, annotations = self._inputs
            files = dict(teacher="teacher", teacher_ckpt="its last")
            student = None if key == TEACHER else self._config(key, files, with_paths=False).to_dict()
            inputs = [student, teacher if self._has_teacher(key) else None, annotations]
            text = json.dumps(inputs, sort_keys=True, default=str)
            self._digests[key] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digests[key]


def _name(key: Key) -> str:
    regime, method, setting, seed = key
    return f"{regime}_{method}_{setting:g}_seed{seed}"
