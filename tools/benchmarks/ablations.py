"""Run the ablations of PCKA on the demo's pair over seeds: `tools/benchmarks/ablations.py averaging`.

Tables and results go to `docs/results/ablations`. A training whose result is there is not repeated, on any machine.
With `--coco DIR` nothing is trained: the variants' complete configs for COCO are written, for `tools/train.py`.
"""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.configuration.detector import load_config
from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.experiments.ablations import FOLDER, Ablation, Variant, vary
from pcka_mmdet.experiments.comparison import Comparison
from pcka_mmdet.experiments.methods import DATA_SETS, PLAIN, Method
from pcka_mmdet.experiments.run_arguments import make_console
from pcka_mmdet.experiments.run_stages import session
from pcka_mmdet.report.comparison import HEADER, cells, rows
from pcka_mmdet.report.tables import console_table, markdown_table

TOOLS = Path(__file__).resolve().parents[1]
TABLES = sorted(path.stem for path in FOLDER.glob("*.py"))
BASE = "pcka"
"""Name of the variant without changes, which several tables have in common."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the ablations of PCKA on the demo's pair.")
    parser.add_argument("tables", nargs="+", choices=TABLES, metavar="TABLE", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--epochs", type=int, help="length of all trainings (default: the benchmark's short regime)")
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), help="folder of the sets (default: %(default)s)"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/methods"), help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("docs/results/ablations"), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one thread each (default: %(default)s)")
    parser.add_argument("--coco", type=Path, metavar="DIR", help="write complete configs for COCO there, and stop")
    parser.add_argument(
        "--base",
        default="configs/retinanet/pcka_fpn_retinanet_x101_retinanet_r50_2x_coco.py",
        help="with --coco: the distillation that is varied (default: %(default)s)",
    )
    return parser.parse_args()


def write_configs(table: str, ablation: Ablation, base: str, folder: Path) -> None:
    """Write the complete config of each variant on COCO."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in ablation.coco.items():
        config = load_config(base)
        vary(config, options)
        path = folder / f"{table}_{file_name(name)}.py"
        config.dump(path)
        print(path)


def file_name(variant: str) -> str:
    """A variant's name as a part of a file name."""
    return variant.replace(", ", "-").replace(" ", "-").lower()


def run(table: str, ablation: Ablation, args: argparse.Namespace, console: Console, lock: int) -> None:
    """Run one table, print it, and write it beside its results."""
    variants = {f"{table}-{file_name(name)}": Variant(options=options) for name, options in ablation.demo.items()}
    names = {method: BASE if variant.is_base else method for method, variant in variants.items()}
    methods: dict[str, Method] = {PLAIN: Method(), BASE: Variant(), **variants}
    comparison = Comparison(
        ("digits", DATA_SETS["digits"]),
        methods,
        args.results / "digits.json",
        args.work_dir,
        args.data_root,
        TOOLS,
        console,
        args.jobs,
        epochs=args.epochs,
    )
    shown = [(name, 1.0) for name in dict.fromkeys([PLAIN, *names.values()])]
    comparison.run([("short", *pair, seed) for seed in args.seeds for pair in shown], tested=False, lock=lock)
    found = {row.method: row for row in rows(comparison.results(), shown, PLAIN, "val")}
    labels = {PLAIN: PLAIN} | dict(zip(names, ablation.demo, strict=True))
    lines = [(label, cells(found[names.get(method, PLAIN)])[2:]) for method, label in labels.items()]
    lines = [[label, *values] for label, values in lines]
    header = ["", *HEADER[2:]]
    console.print(console_table(header, lines, title=f"{ablation.title}: AP on val, digits"))
    command = f"python tools/benchmarks/ablations.py {table} --seeds {' '.join(map(str, args.seeds))}"
    text = f"# {ablation.title}\n\nAP on val of the demo's digits, `{command}`.\n\n{markdown_table(header, lines)}"
    (args.results / f"{table}.md").write_text(text)


def main() -> None:
    args, console = parse_args(), make_console()
    ablations = {table: Ablation.read(FOLDER / f"{table}.py") for table in args.tables}
    if args.coco:
        for table, ablation in ablations.items():
            write_configs(table, ablation, args.base, args.coco)
        return
    with session(args.work_dir) as lock:
        for table, ablation in ablations.items():
            try:
                run(table, ablation, args, console, lock)
            except (FileNotFoundError, FileExistsError, ValueError) as error:
                raise SystemExit(str(error)) from error


if __name__ == "__main__":
    run_tool(main)
