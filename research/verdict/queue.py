"""Runs the trainings that the protocol needs, several at once, and keeps each result.

It goes on after an interruption: a training resumes from its last epoch, and one whose result is in the file is not
repeated.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from pcka_mmdet.checkpoints.files import file_sha256
from pcka_mmdet.configuration.carried import carried
from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.experiments.children import Child, ChildFailed
from pcka_mmdet.experiments.remaining_time import clock
from pcka_mmdet.experiments.stage_config import ensure_data
from pcka_mmdet.experiments.stages import Evaluation, Stage, Training
from pcka_mmdet.report.run import RESULTS
from pcka_mmdet.report.scalars import read_scalars, validation_records

from .choice import STEPS
from .results import Missing, Results
from .trials import Trial

CODE = ("pcka_mmdet", "tools")
"""Folders that a result depends on. The trainings' configs have a digest of their own."""

CONFIGS = ("configs", "research/verdict/*.py", "research/verdict/choice.json")
"""What decides about the trainings."""

POLL = 2.0  # seconds between two looks at the children


class ChangedCode(RuntimeError):
    """The code is not that of a commit, or not that of the results so far."""


class Queue:
    """The trainings that are left, in the order of the protocol.

    Args:
        results: The rows so far.
        work_dir: Folder of the trainings.
        data_root: Folder of all data.
        weights: ImageNet weights of MobileNetV2.
        jobs: Trainings at once, one thread each.
        console: Output.

    Raises:
        ChangedCode: See the class.
    """

    def __init__(self, results: Results, work_dir: Path, data_root: Path, weights: Path, jobs: int, console: Console):
        self.results, self.work_dir = results, work_dir.resolve()
        self.data_root, self.weights = data_root.resolve(), weights.resolve()
        self.jobs, self.console = jobs, console
        self.code = code_digest()
        self._running: dict[Stage, tuple[Trial, Child]] = {}

    def wanted(self) -> list[Trial]:
        """The trainings whose results the protocol needs next, each after its teacher's."""
        found: list[Trial] = []
        for step in STEPS:
            try:
                step(self.results)
            except Missing as missing:  # a later step uses the cores that this one leaves idle
                found += [one for trial in missing.trials for one in (trial.teacher, trial) if one is not None]
        return [trial for trial in dict.fromkeys(found) if not self.results.has(trial)]

    def stage(self, trial: Trial) -> Training:
        """The training of a trial."""
        teacher = self.stage(trial.teacher) if trial.teacher else None
        sides = teacher and dict(teacher=dict(cfg_path=str(teacher.config_file)), teacher_ckpt=str(teacher.checkpoint))
        config = trial.config(self.data_root, self.weights, sides, self.work_dir / trial.pair / "maps")
        ensure_data(config, self.console)
        folder = self.work_dir / trial.pair / trial.name
        return Training(f"{trial.pair} {trial.name}", folder, config, requires=[teacher] if teacher else [])

    def run(self) -> None:
        """Run until nothing is left.

        Raises:
            ChildFailed: A training or test failed. The others are ended; the next call continues.
            ChangedCode: The code was changed meanwhile.
        """
        try:
            while self._start_more() or self._running:
                self._finish_ended()
                time.sleep(POLL)
        finally:
            for _, child in self._running.values():
                child.stop()

    def again(self, trial: Trial) -> float:
        """Train one trial anew, beside the others, without touching the results; its AP on val.

        Raises:
            ChildFailed: The training failed.
        """
        training = self.stage(trial)
        for stage in (*training.requires, training):
            if stage.is_done():
                continue
            stage.prepare()
            child = Child(stage.arguments(), stage.log, threads=1)
            while (code := child.poll()) is None:
                time.sleep(POLL)
            if code:
                raise ChildFailed(stage.name, code, stage.log)
            stage.finish()
        return training.record["val"]["bbox_mAP"]

    def _start_more(self) -> bool:
        """Start trainings while there is room; whether anything was wanted."""
        if len(self._running) >= self.jobs:
            return True
        running = {(trial.pair, trial.name) for trial, _ in self._running.values()}
        wanted = [trial for trial in self.wanted() if (trial.pair, trial.name) not in running]
        for trial in wanted:
            training = self.stage(trial)
            if not all(required.is_done() for required in training.requires):
                trial, training = trial.teacher, training.requires[0]  # also when its result came from another machine
                if (trial.pair, trial.name) in running:
                    continue
            stage = Evaluation(training) if trial.tested and training.is_done() else training
            if stage.is_done():
                self._keep(trial, training)
                return True
            if (digest := code_digest()) != self.code:
                raise ChangedCode(f"the code was {self.code} at the start and is {digest}: start the queue again")
            stage.prepare()
            self._running[stage] = trial, Child(stage.arguments(), stage.log, threads=1)
            self.console.print(f"{clock_of_day()} begins: {stage.name}", highlight=False)
            return True
        return bool(wanted)

    def _finish_ended(self) -> None:
        for stage, (trial, child) in list(self._running.items()):
            code = child.poll()
            if code is None:
                continue
            del self._running[stage]
            if code:
                raise ChildFailed(stage.name, code, stage.log)
            stage.finish()
            training = stage.training if isinstance(stage, Evaluation) else stage
            if training is stage and trial.tested:
                continue  # its test is next
            self._keep(trial, training)

    def _keep(self, trial: Trial, training: Training) -> None:
        """Write the row of a finished training."""
        record = training.record
        curve = validation_records(read_scalars(training.folder))
        row = {
            "trial": dataclasses.asdict(trial),
            "val": record["val"]["bbox_mAP"],
            "curve": {str(epoch): metrics["bbox_mAP"] for epoch, metrics in curve.items()},
            "seconds": record["seconds"],
            "iterations": training.iterations,
            "command": f"python -m research.verdict again {trial.pair} {trial.name}",
            **(record.get("provenance") or {}),
            "code": self.code,
            "inputs": self._inputs(trial, training),
        }
        if trial.tested:
            row["test"] = Evaluation(training).record["test"]["bbox_mAP"]
            self.results.keep_detections(trial, training.folder / RESULTS)
        self.results.write(trial, row)
        tested = f", test {row['test']:.3f}" if trial.tested else ""
        self.console.print(
            f"{clock_of_day()} done: {training.name}: val {row['val']:.3f}{tested}, {clock(row['seconds'])}",
            highlight=False,
        )

    def _inputs(self, trial: Trial, training: Training) -> dict[str, str]:
        """Digests of what the result depends on besides the code."""
        loaders = {split: training.config[f"{split}_dataloader"] for split in ("train", "val", "test")}
        files = {split: file_sha256(annotation_file(loader.dataset))[:16] for split, loader in loaders.items()}
        if trial.teacher is not None:
            files["teacher"] = file_sha256(training.requires[0].checkpoint)[:16]
        text = json.dumps(training.config.to_dict(), sort_keys=True, default=str)
        if str(self.weights) in text:
            files["weights"] = file_sha256(self.weights)[:16]
        for place, name in ((self.work_dir, "WORK"), (self.data_root, "DATA"), (self.weights, "WEIGHTS")):
            text = text.replace(str(place), name)
        return files | {"config": hashlib.sha256(text.encode()).hexdigest()[:16]}


def code_digest() -> str:
    """Digest of the committed code that results depend on.

    Raises:
        ChangedCode: It has changes that are in no commit, or there is no repository.
    """
    root = carried("configs").parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        if changes := git("status", "--porcelain", "--", *CODE, *CONFIGS):
            raise ChangedCode(f"the code has changes that are in no commit:\n{changes}\nCommit them, or use a clone")
        trees = [git("rev-parse", f"HEAD:{folder}") for folder in CODE]
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise ChangedCode(f"{str(root)!r} is no git repository: results need a commit") from error
    return hashlib.sha256(" ".join(trees).encode()).hexdigest()[:16]


def clock_of_day() -> str:
    """The time, for lines of a log."""
    return time.strftime("%H:%M:%S")


def yield_to_others() -> None:
    """Give this process and its children the lowest priority."""
    os.nice(19)


def fail(error: Exception) -> None:
    """End with a message, and no traceback."""
    print(error, file=sys.stderr)
    raise SystemExit(1)
