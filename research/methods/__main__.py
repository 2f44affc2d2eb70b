"""Compare distillation methods, each at its best setting: `research/methods/__main__.py --sets deeppcb`.

For each set and method, four settings are trained once with seed 1000, and the best on val is chosen. The chosen
settings are trained with other seeds and reported on val; with `--final` on test too. The default recipe is reported
at its own ratio besides, which is the same on all sets. With `--setting` nothing is chosen. Results are kept in
`--results`, one file for each set: a training whose result is there is not repeated, on any machine. The same command
continues after an interruption.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pcka_mmdet.cli.arguments import positive
from pcka_mmdet.cli.demo import make_console
from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.report.theme import console_table
from research.trainings.run_stages import session
from research.trials import HEADER, Trial, best_setting, cells, choice, markdown_table, rows

from .comparison import Comparison
from .data_sets import DATA_SETS
from .methods import LOSSES, METHODS, MIDDLE, PLAIN
from .plot import plot_comparison

CHOOSING_SEED = 1000
"""Seed of the trainings that choose a setting; no result has it."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare distillation methods, each at its best setting.")
    parser.add_argument("--sets", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), help="default: all")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        metavar="METHOD",
        help=f"of {', '.join(METHODS)} (default: all; with --quick each loss once, balanced)",
    )
    parser.add_argument("--regimes", nargs="+", choices=["short", "converged"], default=["short"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the results")
    parser.add_argument("--setting", type=float, help="ratio, or factor of the published weights, of all methods")
    parser.add_argument("--final", action="store_true", help="test too: when nothing is left to choose")
    parser.add_argument("--quick", action="store_true", help="two epochs, one setting and one seed")
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), help="folder of the sets (default: %(default)s)"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/methods"), help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("research/results/methods"), help="default: %(default)s")
    parser.add_argument(
        "--jobs", type=positive, default=2, help="trainings at once, one thread each (default: %(default)s)"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="the backbones' initial weights, else downloaded")
    args = parser.parse_args()
    if CHOOSING_SEED in args.seeds:
        parser.error(f"--seeds: {CHOOSING_SEED} chooses the settings, so no result may have it")
    args.methods = args.methods or ([f"{name}+balance" for name in LOSSES] if args.quick else list(METHODS))
    if args.quick:
        args.results = args.work_dir = args.work_dir / "quick"
        args.regimes, args.seeds, args.setting = ["short"], args.seeds[:1], MIDDLE
    return args


def comparison_of(name: str, args: argparse.Namespace, console: Console) -> Comparison:
    """The comparison on a data set. Raises what `Comparison` raises."""
    return Comparison(
        (name, DATA_SETS[name]),
        METHODS,
        args.results / f"{name}.json",
        args.work_dir,
        args.data_root,
        console,
        args.jobs,
        args.weights,
        epochs=2 if args.quick else None,
    )


def choose(comparison: Comparison, methods: list[str], lock: int) -> None:
    """Train every setting of the methods in the short regime."""
    settings = {method: METHODS[method].settings for method in methods if len(METHODS[method].settings) > 1}
    keys = [("short", method, setting, CHOOSING_SEED) for method in settings for setting in settings[method]]
    comparison.run(keys, tested=False, lock=lock)


def chosen_settings(trials: Sequence[Trial], methods: list[str], recipe: str) -> list[tuple[str, float]]:
    """The methods with their settings: `MIDDLE` where there is one, and for the recipe; else the best on val, once all
    settings were tried."""
    chosen = []
    for name in methods:
        method = METHODS[name]
        tried = {trial.setting for trial in trials if trial.method == name and trial.seed == CHOOSING_SEED}
        if len(method.settings) == 1 or name == recipe:
            chosen.append((name, MIDDLE))
        if len(method.settings) > 1 and tried == set(method.settings):
            chosen.append((name, best_setting([trial for trial in trials if trial.seed == CHOOSING_SEED], name)))
    return list(dict.fromkeys(chosen))


def report(comparison: Comparison) -> None:
    """Print the tables of a set, and write them and a plot beside its results: all results, also of earlier calls."""
    trials = comparison.results()
    text = (
        f"# {comparison.name}\n\n`{PLAIN}` is the student alone, and the default recipe is "
        f"`{comparison.data_set.recipe}` at {MIDDLE:g}. A setting is a ratio "
        "(`+balance`), or a factor of the published weights.\n"
    )
    if teacher := comparison.teacher_trial():
        tested = f", {teacher.test:.3f} on test" if teacher.test is not None else ""
        text += f"\nThe teacher has {teacher.val:.3f} on val{tested}.\n"
    results = [trial for trial in trials if trial.seed != CHOOSING_SEED]
    pairs = [(trial.method, trial.setting) for trial in results]
    for split in ("val", "test"):
        regimes = {}
        for regime in ("short", "converged"):
            found = rows([trial for trial in results if trial.regime == regime], pairs, PLAIN, split)
            if found:
                regimes[regime] = found
                table, title = [cells(row) for row in found], f"{regime}: AP on {split}"
                comparison.console.print(console_table(HEADER, table, title=f"{comparison.name}, {title}"))
                text += f"\n## {title}\n\n{markdown_table(HEADER, table)}"
        if regimes:
            plot = comparison.file.with_name(f"{comparison.name}_{split}.png")
            plot_comparison(regimes, PLAIN, f"{comparison.name}: AP on {split}, mean and standard deviation", plot)
            text += f"\n![AP on {split} by method]({plot.name})\n"
    several = [name for name, method in METHODS.items() if len(method.settings) > 1]
    settings = choice([trial for trial in trials if trial.seed == CHOOSING_SEED], several)
    if settings:
        text += f"\n## The choice of settings: AP on val, short, seed {CHOOSING_SEED}\n\n"
        text += markdown_table(("method", "settings"), settings)
    comparison.file.with_suffix(".md").write_text(text)


def main() -> None:
    args, console = parse_args(), make_console()
    methods = list(dict.fromkeys([PLAIN, *args.methods]))
    with session(args.work_dir) as lock:
        for name in args.sets:
            comparison = comparison_of(name, args, console)
            fitting = comparison.data_set.fitting(methods)
            if args.setting is None:
                choose(comparison, fitting, lock)
                chosen = chosen_settings(comparison.results(), fitting, comparison.data_set.recipe)
            else:
                chosen = [(one, MIDDLE if len(METHODS[one].settings) == 1 else args.setting) for one in fitting]
            keys = [(regime, *pair, seed) for regime in args.regimes for seed in args.seeds for pair in chosen]
            comparison.run(keys, tested=args.final, lock=lock)
            report(comparison)


if __name__ == "__main__":
    run_tool(main)
