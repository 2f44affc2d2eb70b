"""Distil a classifier of few labelled digits by RCKA, KD and DIST, over seeds: `tools/demo_cls.py`.

The teacher learned from all digits for training, the students from ten of each class. Finished stages are skipped, so
the same command continues after an interruption.
"""

import argparse
from pathlib import Path

from rich.console import Console

from pcka_mmdet.datasets.digit_images import build_digit_images
from pcka_mmdet.experiments.display import Display
from pcka_mmdet.experiments.run_arguments import default_threads, make_console
from pcka_mmdet.experiments.run_stages import run_stages, session
from pcka_mmdet.experiments.stage_config import stage_config
from pcka_mmdet.experiments.stages import ClassifierEvaluation, Training, with_requirements
from pcka_mmdet.report.comparison import HEADER, Trial, cells, rows
from pcka_mmdet.report.scalars import ACCURACY
from pcka_mmdet.report.tables import console_table, markdown_table

TOOLS = Path(__file__).resolve().parent
CONFIGS = Path("configs/classification/digits")
STUDENT = "student"
METHODS = (STUDENT, "rcka", "kd", "dist")
COSTS = {"teacher": 2.5, STUDENT: 1.0}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Distil a classifier of few labelled digits, over seeds.")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo_cls"), help="default: %(default)s")
    parser.add_argument("--data-root", type=Path, default=Path("data/digit_images"), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument("--epochs", type=int, help="length of the students' trainings (default: the configs')")
    parser.add_argument(
        "--jobs", type=int, default=min(2, default_threads()), help="trainings at once, one thread each"
    )
    return parser.parse_args()


def plan(args: argparse.Namespace) -> tuple[Training, dict[tuple[str, int], ClassifierEvaluation]]:
    """The teacher's training, and the test of each method and seed."""
    root = str(args.data_root)
    config = stage_config(CONFIGS, "teacher", root)
    teacher = Training("teacher", args.work_dir / "teacher", config, TOOLS, COSTS["teacher"])
    options = {"train_cfg.max_epochs": args.epochs, "train_cfg.val_interval": args.epochs} if args.epochs else {}
    tests = {}
    for seed in args.seeds:
        for method in METHODS:
            requires = [] if method == STUDENT else [teacher]
            config = stage_config(CONFIGS, method, root, seed, options, *requires)
            name = f"{method}_seed{seed}"
            training = Training(name, args.work_dir / name, config, TOOLS, COSTS.get(method, 1.4), requires)
            tests[method, seed] = ClassifierEvaluation(training, TOOLS)
    return teacher, tests


def report(teacher: ClassifierEvaluation, tests: dict[tuple[str, int], ClassifierEvaluation], console: Console) -> str:
    """Print the table of each split, and return it as Markdown."""
    trials, text = [], "# Top-1 accuracy on the digits\n"
    for (method, seed), test in tests.items():
        accuracy = [record[ACCURACY] / 100 for record in (test.training.record["val"], test.record["test"])]
        trials.append(Trial("digits", method, 1.0, seed, *accuracy, test.training.record["seconds"]))
    for split in ("val", "test"):
        of_teacher = teacher.training.record["val"] if split == "val" else teacher.record["test"]
        table = [["teacher", "", "1", f"{of_teacher[ACCURACY] / 100:.3f}", "", "", ""]]
        table += [cells(row) for row in rows(trials, dict.fromkeys(METHODS, 1.0), STUDENT, split)]
        table = [[name, *others] for name, _, *others in table]
        header = [HEADER[0], HEADER[2], "top-1", *HEADER[4:5], "to student", HEADER[6]]
        console.print(console_table(header, table, title=f"accuracy on {split}"))
        text += f"\n## {split}\n\n{markdown_table(header, table)}"
    return text


def main() -> None:
    args, console = parse_args(), make_console()
    with session(args.work_dir) as lock:
        try:
            build_digit_images(args.data_root)
        except FileExistsError as error:
            raise SystemExit(str(error)) from error
        teacher, tests = plan(args)
        teachers_test = ClassifierEvaluation(teacher, TOOLS)
        stages = with_requirements([*tests.values(), teachers_test])
        with Display(stages, console, args.jobs) as display:
            run_stages(stages, display, 1, args.jobs, inherit=[lock])
        path = args.work_dir / "results.md"
        path.write_text(report(teachers_test, tests, console))
        console.print(f"the tables are in {path}", highlight=False)


if __name__ == "__main__":
    main()
