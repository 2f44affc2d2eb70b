"""Student and distilled student with several seeds and lengths of training: `research/seeds.py`.

For example `--seeds 0 1 2 --epochs 20 60`. Finished stages are skipped, so seeds or lengths can be added later, and
the same command continues after an interruption.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.cli.arguments import positive
from pcka_mmdet.cli.demo import add_run_arguments, default_threads, make_console
from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.demo.config import demo_config, ensure_data
from pcka_mmdet.report.theme import console_table
from research.trainings.display import Display
from research.trainings.run_stages import run_stages, session
from research.trainings.stages import COSTS, Evaluation, Training, with_requirements
from research.trials import HEADER, Trial, cells, markdown_table, rows

METHODS = ("student", "distilled")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare student and distilled student over seeds and lengths.")
    add_run_arguments(parser, work_dir="work_dirs/demo_seeds", trainings="the students' trainings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--epochs", type=positive, nargs="+", help="lengths of training (default: the configs')")
    parser.add_argument("--only", choices=METHODS, help="train this one alone")
    parser.add_argument("--jobs", type=positive, default=1, help="trainings that run at once and share the cores")
    parser.add_argument(
        "--teacher-dir",
        type=Path,
        help="work directory of a teacher of another comparison (default: a teacher is trained in --work-dir)",
    )
    args = parser.parse_args()
    if args.jobs > 1 and args.threads == default_threads():
        args.threads = max(1, args.threads // args.jobs)
    return args


def plan_teacher(args: argparse.Namespace, console: Console) -> Training:
    """The teacher's training, finished or not; it does not depend on the students' seed, length and other settings."""
    config = demo_config(args.config_dir, "teacher", args.data_root, options=args.teacher_cfg_options)
    ensure_data(config, console)
    folders = [args.work_dir / "teacher", *([args.teacher_dir] if args.teacher_dir else [])]
    teachers = [Training("teacher", folder, config, COSTS["teacher"]) for folder in folders]
    return next((teacher for teacher in teachers if teacher.is_done()), teachers[0])


def plan(args: argparse.Namespace, console: Console) -> dict[tuple[str, int, int], Evaluation]:
    """The test of each student, by method, epochs and seed."""
    methods = [args.only] if args.only else METHODS
    teacher = plan_teacher(args, console) if "distilled" in methods else None
    tests = {}
    for epochs in args.epochs or [None]:
        for seed in args.seeds:
            for method in methods:
                options = args.cfg_options | ({"train_cfg.max_epochs": epochs} if epochs else {})
                requires = [teacher] if method == "distilled" else []
                files = teacher.as_teacher if method == "distilled" else None
                config = demo_config(args.config_dir, method, args.data_root, seed, options, files)
                ensure_data(config, console)
                length = config.train_cfg.max_epochs
                folder = args.work_dir / f"{method}_{length}e_seed{seed}"
                training = Training(folder.name, folder, config, COSTS[method], requires)
                tests[method, length, seed] = Evaluation(training)
    return tests


def trial(method: str, epochs: int, seed: int, test: Evaluation) -> Trial:
    """The result of a student."""
    trained = test.training.record
    values = trained["val"]["bbox_mAP"], test.record["test"]["bbox_mAP"]
    return Trial(f"{epochs} epochs", method, 1.0, seed, *values, trained["seconds"])


def main() -> None:
    args, console = parse_args(), make_console()
    with session(args.work_dir) as lock:
        tests = plan(args, console)
        # the teacher first, because other stages require it
        teachers = [teacher for test in tests.values() for teacher in test.training.requires]
        stages = with_requirements([*teachers, *tests.values()])
        with Display(stages, console, args.jobs) as display:
            run_stages(stages, display, args.threads, args.jobs, inherit=[lock])

        trials = [trial(*key, test) for key, test in tests.items()]
        write_json(args.work_dir / "seeds.json", [asdict(one) for one in trials])
        text = "# AP over seeds\n"
        for regime in dict.fromkeys(one.regime for one in trials):
            for split in ("val", "test"):
                of_regime = [one for one in trials if one.regime == regime]
                table = [cells(row) for row in rows(of_regime, [(name, 1.0) for name in METHODS], METHODS[0], split)]
                console.print(console_table(HEADER, table, title=f"AP on {split}, {regime}"))
                text += f"\n## {split}, {regime}\n\n{markdown_table(HEADER, table)}"
        (args.work_dir / "seeds.md").write_text(text)
        console.print(f"seeds.json and seeds.md are in {args.work_dir}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_tool(main)
