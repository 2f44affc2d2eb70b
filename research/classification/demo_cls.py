"""Distil a classifier of few labelled digits by RCKA, KD, DIST and PCKA, over seeds.

The teacher learned from all digits for training, the students from five of each class. Finished trainings are skipped,
so the same command continues after an interruption.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.cli.arguments import add_cfg_options, positive
from pcka_mmdet.cli.demo import default_threads, make_console
from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.demo.config import demo_config
from pcka_mmdet.report.scalars import ACCURACY
from pcka_mmdet.report.theme import console_table
from research import CONFIGS
from research.trainings.display import Display
from research.trainings.run_stages import run_stages, session
from research.trainings.stages import Training, with_requirements
from research.trials import Trial, cells, markdown_table, rows

from .digit_images import build_digit_images

FOLDER = CONFIGS / "classification" / "digits"
STUDENT = "student"
METHODS = (STUDENT, "rcka", "kd", "dist", "pcka")
COSTS = {"teacher": 2.5, STUDENT: 1.0}
HEADER = ("method", "seeds", "top-1", "sd", "to student", "95 %")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Distil a classifier of few labelled digits, over seeds.")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo_cls"), help="default: %(default)s")
    parser.add_argument("--data-root", type=Path, default=Path("data/digit_images"), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument(
        "--split",
        choices=["val", "test"],
        default="test",
        help="what is reported (default: test); of val in WORK_DIR/val",
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="default: all")
    add_cfg_options(
        parser, "settings of the distilled students, such as model.balance.ratio=0.3; their folders are named by them"
    )
    parser.add_argument("--epochs", type=positive, help="length of all trainings (default: the configs')")
    parser.add_argument(
        "--jobs", type=positive, default=min(2, default_threads()), help="trainings at once, one thread each"
    )
    args = parser.parse_args()
    if args.split == "val":
        args.work_dir /= "val"  # a training is validated on one split
    return args


def plan(args: argparse.Namespace) -> dict[tuple[str, int], Training]:
    """The training of each method and seed. They require the teacher's."""

    length = {"train_cfg.max_epochs": args.epochs} if args.epochs else {}

    def training(name: str, method: str, seed: int, options: Mapping[str, Any], *requires: Training) -> Training:
        teacher = requires[0].as_teacher if requires else None
        config = demo_config(FOLDER, method, str(args.data_root), seed, {**length, **options}, teacher)
        config.val_dataloader.dataset.ann_file = f"{args.split}.txt"
        config.train_cfg.val_interval = config.train_cfg.max_epochs  # no model is chosen by it
        return Training(name, args.work_dir / name, config, COSTS.get(method, 1.4), requires)

    teacher = training("teacher", "teacher", 0, {})
    trainings = {("teacher", 0): teacher}
    settings = "".join(f"_{key.rpartition('.')[2]}={value}" for key, value in args.cfg_options.items())
    for seed in args.seeds:
        for method in args.methods:
            name = f"{method}_seed{seed}"
            trainings[method, seed] = (
                training(name, method, seed, {})
                if method == STUDENT
                else training(f"{name}{settings}", method, seed, args.cfg_options, teacher)
            )
    return trainings


def keep(trainings: dict[tuple[str, int], Training], split: str, path: Path) -> None:
    """Add the results to the file, which may hold those of other settings."""
    entries = json.loads(path.read_text()) if path.exists() else {}
    for (method, seed), training in trainings.items():
        result = dict(method=method, seed=seed, epochs=training.config.train_cfg.max_epochs)
        result |= {f"top1_{split}": _accuracy(training), "seconds": training.record["seconds"]}
        entries[training.name] = result | (training.record.get("provenance") or {})
    write_json(path, dict(sorted(entries.items())))


def _accuracy(training: Training) -> float:
    return training.record["val"][ACCURACY] / 100  # of the split that is reported


def report(trainings: dict[tuple[str, int], Training], split: str, console: Console) -> str:
    """Print the table, and return it as Markdown."""
    trials = [
        Trial("digits", method, 1.0, seed, _accuracy(training), None, training.record["seconds"])
        for (method, seed), training in trainings.items()
    ]
    found = rows(trials, [(name, 1.0) for name in ("teacher", *METHODS)], STUDENT, "val")
    table = [[name, *others] for name, _, *others in (cells(row) for row in found)]
    console.print(console_table(HEADER, table, title=f"accuracy on {split}"))
    return f"# Top-1 accuracy on the digits, {split}\n\n{markdown_table(HEADER, table)}"


def main() -> None:
    args, console = parse_args(), make_console()
    with session(args.work_dir) as lock:
        build_digit_images(args.data_root)
        trainings = plan(args)
        stages = with_requirements(list(trainings.values()))
        with Display(stages, console, args.jobs) as display:
            run_stages(stages, display, 1, args.jobs, inherit=[lock])
        path = args.work_dir / "results.md"
        keep(trainings, args.split, path.with_suffix(".json"))
        path.write_text(report(trainings, args.split, console))
        console.print(f"the table is in {path}", highlight=False)


if __name__ == "__main__":
    run_tool(main)
