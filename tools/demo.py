"""Train and test teacher, student and distilled student, and write the report: `tools/demo.py`.

Finished stages are skipped, so the same command continues after an interruption.
"""

import argparse

from rich.console import Console

from pcka_mmdet.commands.run_arguments import add_run_arguments, make_console
from pcka_mmdet.commands.short_errors import run_tool
from pcka_mmdet.experiments.demo_report import print_table, result, write_report
from pcka_mmdet.experiments.display import Display
from pcka_mmdet.experiments.run_stages import run_stages, session
from pcka_mmdet.experiments.stage_config import COSTS, METHODS, ensure_data, stage_config
from pcka_mmdet.experiments.stages import Evaluation, Training, with_requirements


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train and compare a teacher, a student and a distilled student.")
    add_run_arguments(parser, work_dir="work_dirs/demo")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data order (default: %(default)s)")
    parser.add_argument("--only", choices=METHODS, help="train and test this one alone, with what it requires")
    return parser.parse_args()


def plan(args: argparse.Namespace, console: Console) -> dict[str, Evaluation]:
    """The test of each method. It requires its training, and the distilled student's training the teacher's."""
    trainings: dict[str, Training] = {}
    for method in METHODS:
        teacher = trainings["teacher"] if method == "distilled" else None
        options = args.cfg_options | (args.teacher_cfg_options if method == "teacher" else {})
        config = stage_config(args.config_dir, method, args.data_root, args.seed, options, teacher)
        ensure_data(config, console)
        requires = [teacher] if teacher else []
        trainings[method] = Training(method, args.work_dir / method, config, COSTS[method], requires)
    return {method: Evaluation(training) for method, training in trainings.items()}


def main() -> None:
    args, console = parse_args(), make_console()
    with session(args.work_dir) as lock:
        tests = plan(args, console)
        # all trainings before the tests: an interruption between two trainings loses nothing
        wanted = [tests[args.only]] if args.only else [*(test.training for test in tests.values()), *tests.values()]
        stages = with_requirements(wanted)
        with Display(stages, console) as display:
            run_stages(stages, display, args.threads, inherit=[lock])
        if args.only:
            print_table({args.only: result(tests[args.only])}, console)
        else:
            write_report(tests, args.work_dir, console)


if __name__ == "__main__":
    run_tool(main)
