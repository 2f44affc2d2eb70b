"""Train and test teacher, student and distilled student, and write the report: `tools/demo.py`.

Finished stages are skipped, so the same command continues after an interruption.
"""

import argparse

from rich.console import Console

from pcka_mmdet.demo.display import Display
from pcka_mmdet.demo.run_stages import run_stages, session
from pcka_mmdet.demo.stage_config import COSTS, METHODS, ensure_data, stage_config
from pcka_mmdet.demo.stages import Evaluation, Training, with_requirements
from pcka_mmdet.demo.summary import print_table, result, write_report

from .arguments import add_run_arguments, make_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_arguments(parser, work_dir="work_dirs/demo")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data order (default: %(default)s)")
    parser.add_argument("--only", choices=METHODS, help="train and test this one alone, with what it requires")


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


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    console = make_console()
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
