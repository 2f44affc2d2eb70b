"""Compare distillation methods, each at its best setting: `tools/benchmarks/methods.py --sets deeppcb`.

For each set and method, four settings are trained once with seed 1000, and the best on val is chosen. The chosen
settings are trained with other seeds and reported on val; with `--final` on test too. Results are kept in `--results`,
one file for each set: a training whose result is there is not repeated, on any machine. The same command continues
after an interruption.
"""

import argparse
import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path

from mmengine.config import Config
from rich.console import Console

import pcka_mmdet
from pcka_mmdet.benchmarking.measure import machine
from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.engine.launch import ConfigOptions
from pcka_mmdet.experiments.display import Display
from pcka_mmdet.experiments.methods import DATA_SETS, METHODS, MIDDLE, PLAIN
from pcka_mmdet.experiments.run_arguments import make_console
from pcka_mmdet.experiments.run_stages import run_stages, session
from pcka_mmdet.experiments.stage_config import COSTS, ensure_data, stage_config
from pcka_mmdet.experiments.stages import Evaluation, Stage, Training, with_requirements
from pcka_mmdet.report.comparison import HEADER, Trial, best_setting, cells, choice, rows
from pcka_mmdet.report.comparison_plot import plot_comparison
from pcka_mmdet.report.tables import console_table, markdown_table

TOOLS = Path(__file__).resolve().parents[1]

CHOOSING_SEED = 1000
"""Seed of the trainings that choose a setting; no result has it."""

NOWHERE = Path("data")
"""Stands for the folder of the data where configs are compared."""

Key = tuple[str, str, float, int]
"""Regime, method, setting and seed of a training."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare distillation methods, each at its best setting.")
    parser.add_argument("--sets", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), help="default: all")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        metavar="METHOD",
        default=list(METHODS),
        help=f"of {', '.join(METHODS)} (default: all)",
    )
    parser.add_argument("--regimes", nargs="+", choices=["short", "converged"], default=["short"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the results")
    parser.add_argument("--final", action="store_true", help="test too: when nothing is left to choose")
    parser.add_argument("--quick", action="store_true", help="one setting, one seed and two epochs of each method")
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), help="folder of the sets (default: %(default)s)"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/methods"), help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("docs/results/methods"), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one thread each (default: %(default)s)")
    parser.add_argument("--teacher-cfg-options", nargs="+", action=ConfigOptions, default={}, metavar="KEY=VALUE")
    args = parser.parse_args()
    if CHOOSING_SEED in args.seeds:
        parser.error(f"--seeds: {CHOOSING_SEED} chooses the settings, so no result may have it")
    if args.quick:
        args.results = args.work_dir = args.work_dir / "quick"
        args.regimes, args.seeds = ["short"], args.seeds[:1]
    return args


class Comparison:
    """The trainings of one data set, and their results.

    Args:
        name: One of `DATA_SETS`.
        args: See `parse_args`.
        console: Output.

    Raises:
        FileNotFoundError: The data are missing.
    """

    def __init__(self, name: str, args: argparse.Namespace, console: Console):
        self.name, self.args, self.console = name, args, console
        self.data_set = DATA_SETS[name]
        self.folder = args.work_dir / name
        self.file = args.results / f"{name}.json"
        self.entries: dict[str, dict] = json.loads(self.file.read_text()) if self.file.exists() else {}
        epochs = 2 if args.quick else self.data_set.teacher_epochs
        config = self._stage_config("teacher", 0, epochs, args.teacher_cfg_options)
        ensure_data(config, console)
        self.teacher = Training(f"{name} teacher", self.folder / "teacher", config, TOOLS, COSTS["teacher"])
        annotations = hashlib.sha256(annotation_file(config.train_dataloader.dataset).read_bytes()).hexdigest()
        options = {k: v for k, v in args.teacher_cfg_options.items() if not k.endswith("init_cfg.checkpoint")}
        self._inputs = [self._stage_config("teacher", 0, epochs, options, NOWHERE).to_dict(), annotations]
        """What results depend on besides the student's config; see `_digest`."""
        self._digests: dict[Key, str] = {}

    def _stage_config(
        self, method: str, seed: int, epochs: int, options: dict | None = None, data_root: Path | None = None
    ) -> Config:
        options = {"train_cfg.max_epochs": epochs, "train_cfg.val_interval": epochs, **(options or {})}
        root = str((data_root or self.args.data_root) / self.data_set.data)
        return stage_config(Path(self.data_set.folder), method, root, seed, options)

    def results(self, keys: list[Key]) -> list[Trial]:
        """The results of trainings that are as these are today."""
        entries = [self.entries[_name(key)] for key in keys if self._is_done(key, tested=False)]
        return [Trial(**entry["trial"]) for entry in entries]

    def _is_done(self, key: Key, tested: bool) -> bool:
        entry = self.entries.get(_name(key))
        if entry is None or entry["inputs"] != self._digest(key):
            return False
        return entry["trial"]["test"] is not None or not tested

    def run(self, keys: list[Key], tested: bool, lock: int) -> None:
        """Run the trainings whose results are missing, and keep each result when it is there."""
        wanted: dict[Stage, tuple[Key, Training]] = {}
        for key in [key for key in keys if not self._is_done(key, tested)]:
            files = dict(
                teacher=dict(cfg_path=str(self.teacher.config_file)), teacher_ckpt=str(self.teacher.checkpoint)
            )
            requires = [self.teacher] if METHODS[key[1]].losses else []
            cost = COSTS["distilled" if requires else "student"]
            name, config = _name(key), self._config(key, files)
            training = Training(f"{self.name} {name}", self.folder / name, config, TOOLS, cost, requires)
            wanted[Evaluation(training, TOOLS) if tested else training] = key, training

        def keep(stage: Stage) -> None:
            if stage not in wanted:
                return
            key, training = wanted[stage]
            test = stage.record["test"]["bbox_mAP"] if tested else None
            trial = Trial(*key, training.record["val"]["bbox_mAP"], test, training.record["seconds"])
            facts = dict(inputs=self._digest(key), version=_version(), machine=machine())
            self.entries[_name(key)] = {"trial": dataclasses.asdict(trial), **facts}
            write_json(self.file, dict(sorted(self.entries.items())))

        stages = with_requirements(list(wanted))
        with Display(stages, self.console, self.args.jobs) as display:
            run_stages(stages, display, 1, self.args.jobs, inherit=[lock], on_done=keep)

    def _config(self, key: Key, files: dict, data_root: Path | None = None) -> Config:
        regime, method, setting, seed = key
        epochs = 2 if self.args.quick else self.data_set.num_epochs(regime, method)
        return METHODS[method].apply(self._stage_config("student", seed, epochs, None, data_root), setting, files)

    def _digest(self, key: Key) -> str:
        """Digest of what a result depends on: configs and annotations, without folders and the file of the teacher's
        initial weights. Code is not in it: see `version` in an entry."""
        if key not in self._digests:
            teacher, annotations = self._inputs
            student = self._config(key, dict(teacher="teacher", teacher_ckpt="its last"), NOWHERE).to_dict()
            inputs = [student, teacher if METHODS[key[1]].losses else None, annotations]
            text = json.dumps(inputs, sort_keys=True, default=str)
            self._digests[key] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digests[key]


def _version() -> str:
    """The commit of the code, with `+` if it has been changed since."""
    git = ["git", "-C", str(TOOLS), "describe", "--always", "--dirty=+", "--abbrev=12"]
    done = subprocess.run(git, capture_output=True, text=True)
    return done.stdout.strip() or pcka_mmdet.__version__


def _name(key: Key) -> str:
    regime, method, setting, seed = key
    return f"{regime}_{method}_{setting:g}_seed{seed}"


def choice_keys(methods: list[str]) -> list[Key]:
    """The trainings that choose the settings of methods."""
    distilled = [method for method in methods if METHODS[method].losses]
    return [("short", method, setting, CHOOSING_SEED) for method in distilled for setting in METHODS[method].settings]


def choose(comparison: Comparison, methods: list[str], lock: int) -> dict[str, float]:
    """Train every setting of the methods in the short regime, and choose the best on val."""
    chosen = dict.fromkeys(methods, MIDDLE)
    if comparison.args.quick:
        return chosen
    keys = choice_keys(methods)
    comparison.run(keys, tested=False, lock=lock)
    trials = comparison.results(keys)
    return chosen | {method: best_setting(trials, method) for method in {key[1] for key in keys}}


def report(comparison: Comparison, chosen: dict[str, float], keys: list[Key]) -> None:
    """Print the tables of a set, and write them and a plot beside its results."""
    args, text = comparison.args, f"# {comparison.name}\n"
    for split in ("val", "test") if args.final else ("val",):
        regimes = {}
        for regime in args.regimes:
            trials = [trial for trial in comparison.results(keys) if trial.regime == regime]
            regimes[regime] = rows(trials, chosen, PLAIN, split)
            table, title = [cells(row) for row in regimes[regime]], f"{regime}: AP on {split}"
            comparison.console.print(console_table(HEADER, table, title=f"{comparison.name}, {title}"))
            text += f"\n## {title}\n\n{markdown_table(HEADER, table)}"
        plot = comparison.file.with_name(f"{comparison.name}_{split}.png")
        plot_comparison(regimes, PLAIN, f"{comparison.name}: AP on {split}, mean and standard deviation", plot)
        text += f"\n![AP on {split} by method]({plot.name})\n"
    settings = choice(comparison.results(choice_keys(list(chosen))), chosen)
    if settings:
        text += f"\n## The choice of settings: AP on val, short, seed {CHOOSING_SEED}\n\n"
        text += markdown_table(("method", "settings"), settings)
    comparison.file.with_suffix(".md").write_text(text)


def main() -> None:
    args, console = parse_args(), make_console()
    methods = list(dict.fromkeys([PLAIN, *args.methods]))
    with session(args.work_dir) as lock:
        for name in args.sets:
            try:
                comparison = Comparison(name, args, console)
            except (FileNotFoundError, FileExistsError, ValueError) as error:
                raise SystemExit(str(error)) from error
            fitting = comparison.data_set.fitting(methods)
            chosen = choose(comparison, fitting, lock)
            keys = [
                (r, method, chosen[method], seed) for r in args.regimes for seed in args.seeds for method in fitting
            ]
            comparison.run(keys, tested=args.final, lock=lock)
            report(comparison, chosen, keys)


if __name__ == "__main__":
    main()
