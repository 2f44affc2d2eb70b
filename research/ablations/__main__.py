"""Run the ablations of PCKA on the demo's pair over seeds: `research/ablations/__main__.py averaging`.

Each variant's gradient is balanced to the task's, on strides 8 and 16, unless the table says otherwise.

Tables and results go to `research/results/ablations`. A training whose result is there is not repeated, on any machine.
With `--coco DIR` nothing is trained: the variants' complete configs for COCO are written, for `tools/train.py`.
"""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.cli.arguments import positive
from pcka_mmdet.cli.demo import make_console
from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.models.recipes import write_out_recipe
from pcka_mmdet.report.theme import console_table
from research.methods.comparison import Comparison
from research.methods.data_sets import DATA_SETS
from research.methods.methods import PLAIN, Method
from research.trainings.run_stages import session

from .ablations import HEADER, Ablation, file_name, read_ablations, trainings, vary

ABLATIONS = read_ablations()
REGIME = "short"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the ablations of PCKA on the demo's pair.")
    parser.add_argument("tables", nargs="+", choices=ABLATIONS, metavar="TABLE", help=f"of {', '.join(ABLATIONS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument(
        "--epochs",
        type=positive,
        help="length of all trainings; the results are then in the work directory (default: the benchmark's short "
        "regime)",
    )
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), help="folder of the sets (default: %(default)s)"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/methods"), help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("research/results/ablations"), help="default: %(default)s")
    parser.add_argument(
        "--jobs", type=positive, default=2, help="trainings at once, one thread each (default: %(default)s)"
    )
    parser.add_argument("--coco", type=Path, metavar="DIR", help="write complete configs for COCO there, and stop")
    parser.add_argument(
        "--base",
        default="pcka_mmdet::retinanet/pcka_fpn_retinanet_x101_retinanet_r50_2x_coco.py",
        help="with --coco: the distillation that is varied (default: %(default)s)",
    )
    args = parser.parse_args()
    if args.epochs:  # they would replace those of the usual length
        args.results = args.work_dir = args.work_dir / f"{args.epochs}_epochs"
    return args


def write_configs(table: str, ablation: Ablation, base: str, folder: Path) -> None:
    """Write the complete config of each variant on COCO."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in ablation.coco.items():
        config = load_config(base)
        write_out_recipe(config.model)
        vary(config, options)
        path = folder / f"{table}_{file_name(name)}.py"
        config.dump(path)
        print(path)


def run(args: argparse.Namespace, console: Console, lock: int) -> None:
    """Run the trainings of all tables, then write the tables."""
    found = trainings(ABLATIONS)
    methods: dict[str, Method] = {PLAIN: Method(), **dict(found.values())}
    comparison = Comparison(
        ("digits", DATA_SETS["digits"]),
        methods,
        args.results / "digits.json",
        args.work_dir,
        args.data_root,
        console,
        args.jobs,
        epochs=args.epochs,
    )
    names = {table: {label: found[table, label][0] for label in ABLATIONS[table].demo} for table in args.tables}
    methods_of_all = dict.fromkeys([PLAIN, *(name for variants in names.values() for name in variants.values())])
    wanted = [(REGIME, name, 1.0, seed) for seed in args.seeds for name in methods_of_all]
    try:
        comparison.run(wanted, tested=False, lock=lock)
    finally:  # after an interruption, the tables that are complete
        write_tables(names, comparison, args, console)


def write_tables(
    names: dict[str, dict[str, str]], comparison: Comparison, args: argparse.Namespace, console: Console
) -> None:
    """Print each table whose trainings are all done, and write it beside its results.

    Args:
        names: For each table, the training of each variant.
        comparison: The trainings.
        args: The command line's.
        console: Output.
    """
    trials = [trial for trial in comparison.results() if trial.seed in args.seeds]
    length = args.epochs or DATA_SETS["digits"].epochs[REGIME]
    options = f"--seeds {' '.join(map(str, args.seeds))}" + (f" --epochs {args.epochs}" if args.epochs else "")
    done = {(trial.method, trial.seed) for trial in trials}
    for table, variants in names.items():
        if not {(name, seed) for name in [PLAIN, *variants.values()] for seed in args.seeds} <= done:
            continue
        ablation = ABLATIONS[table]
        lines = ablation.results(variants, trials)
        console.print(console_table(HEADER, lines, title=f"{ablation.title}: AP on val, digits"))
        command = f"python -m research.ablations {table} {options}"
        (args.results / f"{table}.md").write_text(ablation.page(lines, length, len(args.seeds), command))


def main() -> None:
    args, console = parse_args(), make_console()
    if args.coco:
        for table in args.tables:
            write_configs(table, ABLATIONS[table], args.base, args.coco)
        return
    with session(args.work_dir) as lock:
        run(args, console, lock)


if __name__ == "__main__":
    run_tool(main)
