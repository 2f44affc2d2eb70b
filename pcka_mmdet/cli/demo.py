"""Train teacher, student and distilled student, test them, and write the report: `tools/demo.py`.

Each training is a `pcka-mmdet train` that writes to this console. The same command continues after an interruption.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console

from pcka_mmdet.checkpoints.files import file_sha256, load_file
from pcka_mmdet.checkpoints.matching import summarise
from pcka_mmdet.checkpoints.resume import differing, has_begun
from pcka_mmdet.configuration.files import carried, load_config
from pcka_mmdet.configuration.installed import cores
from pcka_mmdet.configuration.nested import leaves, without
from pcka_mmdet.demo.config import demo_config, ensure_data
from pcka_mmdet.demo.environment import with_threads
from pcka_mmdet.demo.summary import print_table, result, write_report
from pcka_mmdet.engine.work_dir import exclusive
from pcka_mmdet.report.run import tested

from .arguments import add_cfg_options, positive

METHODS = ("teacher", "student", "distilled")

MOST_THREADS = 4  # more do not speed up trainings as small as the demo's

PATIENCE = 10.0  # seconds until a training that was interrupted is killed


@dataclass(frozen=True)
class Training:
    """A training of the demo, in the folder of its name."""

    folder: Path
    config: Config
    teacher: "Training | None" = None

    @property
    def config_file(self) -> Path:
        """The config, beside the folder."""
        return self.folder.with_name(f"{self.folder.name}.py")

    @property
    def checkpoint(self) -> Path:
        """The last epoch's checkpoint."""
        return self.folder / f"epoch_{self.config.train_cfg.max_epochs}.pth"

    def check(self) -> None:
        """Refuse a folder with another training.

        Raises:
            ValueError: The training in the folder has another config or another teacher.
        """
        advice = f"Delete {str(self.folder)!r} to train anew, or give another --work-dir"
        if not has_begun(self.folder):
            return
        if self.config_file.is_file():
            before, now = map(_settings, (load_config(str(self.config_file)), self.config))
            if names := differing(before, now):
                what = f"{str(self.folder)!r} holds a training of another config"
                raise ValueError(f"{what}; what differs: {summarise(names)}. {advice}")
        if self.teacher and self.checkpoint.is_file():
            teacher = load_file(str(self.checkpoint))["meta"].get("teacher_sha256")
            if teacher not in (None, file_sha256(self.teacher.checkpoint)):
                raise ValueError(f"{str(self.folder)!r} holds a student of an earlier teacher. {advice}")

    def run(self, console: Console) -> None:
        """Train, continue a training that was interrupted, or print that it is complete.

        Raises:
            ChildProcessError: The training failed.
            ValueError: See `check`.
        """
        self.check()
        if self.checkpoint.is_file():
            console.print(f"{self.folder.name}: {self.checkpoint} is complete", highlight=False, soft_wrap=True)
            return
        self.config.dump(self.config_file)
        words = ["train", str(self.config_file), "--work-dir", str(self.folder), "--resume", "auto"]
        console.print(f"{self.folder.name}: pcka-mmdet {' '.join(words)}", highlight=False, soft_wrap=True)
        with subprocess.Popen([sys.executable, "-m", "pcka_mmdet", *words]) as process:
            try:
                status = process.wait()
            except KeyboardInterrupt:  # Ctrl-C reached the training too, which ends by itself
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
                process.kill()
                process.wait()
                raise
        if status:
            killed = f"was killed by signal {-status} (9: maybe out of memory)"
            raise ChildProcessError(
                f"the training {self.folder.name!r} {killed if status < 0 else f'failed with exit status {status}'}; "
                "its output is above. Mend the cause, and run the same command again: it continues from the last "
                "complete epoch"
            )


def _settings(config: Config) -> dict[str, Any]:
    """The settings that MMEngine reads, without the teacher: a config file may have other variables."""
    names = signature(Runner).parameters
    return leaves(without({k: v for k, v in config.to_dict().items() if k in names}, ("teacher", "teacher_ckpt")))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser, work_dir="work_dirs/demo")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data order (default: %(default)s)")
    parser.add_argument("--only", choices=METHODS, help="train and test one method, after the teacher if it needs it")


def add_run_arguments(parser: argparse.ArgumentParser, work_dir: str, trainings: str = "every training") -> None:
    """Add the options of a comparison; `work_dir` is a default, and `--cfg-options` changes `trainings`."""
    what = "folder for all outputs (default: %(default)s)"
    parser.add_argument("--work-dir", type=Path, default=Path(work_dir), help=what)
    what = "folder of teacher.py, student.py and distilled.py (default: %(default)s)"
    parser.add_argument("--config-dir", type=Path, default=carried("configs") / "demo", help=what)
    parser.add_argument("--data-root", help="folder of the data (default: the configs' data_root)")
    what = "threads of each training (default here: %(default)s)"
    parser.add_argument("--threads", type=positive, default=default_threads(), help=what)
    add_cfg_options(parser, f"settings of {trainings}")
    add_cfg_options(parser, "settings of the teacher's training only", "--teacher-cfg-options")


def default_threads() -> int:
    """Number of this process's cores, at most `MOST_THREADS`."""
    return min(cores(), MOST_THREADS)


def make_console() -> Console:
    """Console as wide as the terminal; elsewhere wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def run(args: argparse.Namespace) -> None:
    os.environ.update(with_threads(os.environ, args.threads))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends the training too
    console = make_console()
    try:
        with exclusive(args.work_dir):
            _run(args, console)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("run the same command again to continue from the last complete epoch") from error


def _run(args: argparse.Namespace, console: Console) -> None:
    trainings: dict[str, Training] = {}
    for method in METHODS:
        options = args.cfg_options | (args.teacher_cfg_options if method == "teacher" else {})
        teacher = trainings["teacher"] if method == "distilled" else None
        files = (teacher.config_file, teacher.checkpoint) if teacher else None
        config = demo_config(args.config_dir, method, args.data_root, args.seed, options, files)
        ensure_data(config, console)
        trainings[method] = Training(args.work_dir / method, config, teacher)
    methods = [args.only] if args.only else METHODS
    for method, training in trainings.items():
        if method in methods or (method == "teacher" and "distilled" in methods):
            training.run(console)
    runs = dict(zip(methods, tested([trainings[method].folder for method in methods])))
    if args.only:
        print_table({args.only: result(runs[args.only])}, console)
    else:
        write_report(runs, args.work_dir, console)
