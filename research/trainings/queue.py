"""Runs the trainings that a protocol needs, several at once, and keeps each result.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from pcka_mmdet.checkpoints.files import file_sha256
from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.configuration.files import carried
from pcka_mmdet.engine.work_dir import exclusive
from pcka_mmdet.report.run import RESULTS
from pcka_mmdet.report.scalars import read_scalars, validation_records

from .display import clock
from .results import Missing, Places, Results, Trial
from .run_stages import Child, ChildFailed, termination_as_interrupt
from .stages import Evaluation, Stage, Training, with_requirements

CODE = ("pcka_mmdet", "tools")
"""Folders that a result depends on. The trainings' configs have a digest of their own."""

CONFIGS = ("configs", "research/*.py", "research/*/choice.json")
"""What decides about the trainings."""

POLL = 2.0  # seconds between two looks at the children

Step = Callable[[Results], object]
"""A step of a protocol: it raises `Missing` with the trainings whose results it needs next."""


class ChangedCode(RuntimeError):
    """The code is not that of a commit, or not that of the results so far."""


class Queue:
    """The trainings that are left, in the order of a protocol.

    Args:
        steps: The protocol. A later step uses the cores that an earlier one leaves idle.
        results: The rows so far.
        places: Where trainings read and write.
        jobs: Trainings at once, one thread each.
        console: Output.
        command: What trains one row anew, followed by its pair and name; for the rows.

    Raises:
        ChangedCode: See the class.
    """

    def __init__(
        self, steps: Sequence[Step], results: Results, places: Places, jobs: int, console: Console, command: str
    ):
        self.steps, self.results, self.places = steps, results, places
        self.jobs, self.console, self.command = jobs, console, command
        self.code = code_digest()
        self._running: dict[tuple[str, str], tuple[Stage, Child]] = {}  # by kind and name of the stage

    def wanted(self) -> list[Trial]:
        """The trainings whose results the protocol needs next, each after its teacher's."""
        found: list[Trial] = []
        for step in self.steps:
            try:
                step(self.results)
            except Missing as missing:
                found += [one for trial in missing.trials for one in (trial.teacher, trial) if one is not None]
        return [trial for trial in dict.fromkeys(found) if not self.results.has(trial)]

    def run(self) -> None:
        """Run until nothing is left.

        Raises:
            ChildFailed: A training or test failed. The others are ended; the next call continues.
            ChangedCode: The code was changed meanwhile.
        """
        os.nice(19)  # others come first, for the children too
        self.places.work_dir.mkdir(parents=True, exist_ok=True)
        with exclusive(self.places.work_dir), self._ending_children():
            while self._start_more() or self._running:
                self._finish_ended()
                time.sleep(POLL)

    def again(self, trial: Trial) -> float:
        """Train one trial anew, beside the others, without touching the results; its AP on val.

        Raises:
            ChildFailed: The training failed.
        """
        training = trial.training(self.places)
        with self._ending_children():
            for stage in with_requirements([training]):
                if not stage.is_done():
                    self._start(stage)
                while self._running:
                    self._finish_ended()
                    time.sleep(POLL)
        return training.record["val"]["bbox_mAP"]

    @contextmanager
    def _ending_children(self) -> Iterator[None]:
        """Context at whose end no child runs, whatever ends it."""
        with termination_as_interrupt():
            try:
                yield
            finally:
                for _, child in self._running.values():
                    child.stop()

    def _start_more(self) -> bool:
        """Start a stage if there is room, or keep a result; whether anything is left."""
        if len(self._running) >= self.jobs:
            return True
        wanted = self.wanted()
        for trial in wanted:
            training = trial.training(self.places)
            stages = with_requirements([Evaluation(training) if trial.tested else training])
            waiting = [stage for stage in stages if not stage.is_done()]
            if not waiting:
                self._keep(trial, training)
                return True
            ready = [stage for stage in waiting if all(required.is_done() for required in stage.requires)]
            if not any(_key(stage) in self._running for stage in ready):
                self._start(ready[0])
                return True
        return bool(wanted)

    def _start(self, stage: Stage) -> None:
        if (digest := code_digest()) != self.code:
            raise ChangedCode(f"the code was {self.code} at the start and is {digest}: start the queue again")
        stage.prepare()
        self._running[_key(stage)] = stage, Child(stage.arguments(), stage.log, threads=1)
        self._say(f"begins: {stage.name}")

    def _finish_ended(self) -> None:
        for key, (stage, child) in list(self._running.items()):
            code = child.poll()
            if code is None:
                continue
            del self._running[key]
            if code:
                raise ChildFailed(stage.name, code, stage.log)
            stage.finish()

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
            "command": f"{self.command} {trial.pair} {trial.name}",
            **(record.get("provenance") or {}),
            "code": self.code,
            "inputs": self._inputs(training),
        }
        if trial.tested:
            row["test"] = Evaluation(training).record["test"]["bbox_mAP"]
            self.results.keep_detections(trial, training.folder / RESULTS)
        self.results.write(trial, row)
        tested = f", test {row['test']:.3f}" if trial.tested else ""
        self._say(f"done: {training.name}: val {row['val']:.3f}{tested}, {clock(row['seconds'])}")

    def _inputs(self, training: Training) -> dict[str, str]:
        """Digests of what the result depends on besides the code."""
        loaders = {split: training.config[f"{split}_dataloader"] for split in ("train", "val", "test")}
        files = {split: file_sha256(annotation_file(loader.dataset))[:16] for split, loader in loaders.items()}
        for stage in with_requirements(training.requires):
            (product,) = stage.products()
            files["teacher" if isinstance(stage, Training) else stage.folder.name] = file_sha256(product)[:16]
        text = json.dumps([training.config.to_dict(), training.options], sort_keys=True, default=str)
        places = self.places
        if str(places.weights) in text:
            files["weights"] = file_sha256(places.weights)[:16]
        for place, name in ((places.work_dir, "WORK"), (places.data_root, "DATA"), (places.weights, "WEIGHTS")):
            text = text.replace(str(place), name)
        return files | {"config": hashlib.sha256(text.encode()).hexdigest()[:16]}

    def _say(self, words: str) -> None:
        self.console.print(f"{time.strftime('%H:%M:%S')} {words}", highlight=False)


def _key(stage: Stage) -> tuple[str, str]:
    return type(stage).__name__, stage.name


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


def fail(error: Exception) -> None:
    """End with a message, and no traceback."""
    print(error, file=sys.stderr)
    raise SystemExit(1)
