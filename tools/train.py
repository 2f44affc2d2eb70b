"""Train a detector, by distillation or alone: `tools/train.py CONFIG`.

CONFIG is a distillation, or any detector; `--teacher` makes a detector the student of a distillation.
"""

import argparse
from pathlib import Path
from urllib.error import URLError

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.resume import checkpoint_to_resume
from pcka_mmdet.configuration.detector import is_distillation
from pcka_mmdet.engine import preflight
from pcka_mmdet.engine.hooks import NonFiniteLossHook, SimilarityHook
from pcka_mmdet.engine.hooks.student_checkpoint import allow_teacher_change
from pcka_mmdet.engine.launch import add_common_arguments, runner_config
from pcka_mmdet.engine.nonfinite import save_step
from pcka_mmdet.engine.recipe import RECIPES, distillation_config
from pcka_mmdet.engine.runner import build_runner, build_training_set, on_cpu, use_student_checkpoints
from pcka_mmdet.engine.short_errors import run_tool
from pcka_mmdet.engine.teacher_check import check_teacher
from pcka_mmdet.engine.work_dir import check_work_dir, reserved


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a detector, by distillation or alone.")
    add_common_arguments(parser)
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate to the total batch size; needs auto_scale_lr in the config",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="newest",
        metavar="CHECKPOINT",
        help="resume from CHECKPOINT, by default from the newest in the work directory; 'auto' also starts a new "
        "training if there is none",
    )
    parser.add_argument(
        "--allow-teacher-change", action="store_true", help="resume even if the teacher's file has changed"
    )
    parser.add_argument(
        "--teacher", metavar="CONFIG", help="config of the teacher, to distil the detector of the first CONFIG"
    )
    parser.add_argument("--teacher-ckpt", metavar="FILE", help="weights of --teacher: file or URL")
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        help="losses of the distillation with --teacher (default: both-heads, teacher-head or maps, as suits the pair)",
    )
    parser.add_argument("--init-student", metavar="FILE", help="checkpoint that the student starts from")
    parser.add_argument(
        "--check-teacher",
        nargs="?",
        type=int,
        const=500,
        metavar="N",
        help="first evaluate the teacher on N validation images (default: 500), and stop if its accuracy is too low",
    )
    args = parser.parse_args()
    if bool(args.teacher) != bool(args.teacher_ckpt):
        parser.error("give --teacher CONFIG and --teacher-ckpt FILE together")
    if args.recipe and not args.teacher:
        parser.error("--recipe needs --teacher; a distillation's config already holds its losses")
    return args


def teacher_and_student(args: argparse.Namespace) -> tuple[Config | None, str]:
    """The distillation config of `--teacher`, and a sentence on its recipe; `None` and nothing without that option."""
    if not args.teacher:
        return None, ""
    try:
        return distillation_config(args.config, args.teacher, args.teacher_ckpt, args.recipe, args.cfg_options)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error


def apply_options(args: argparse.Namespace, config: Config) -> None:
    """Apply the command line's options to the config."""
    if args.amp:
        config.optim_wrapper.type = "pcka_mmdet.CpuAmpOptimWrapper" if on_cpu() else "AmpOptimWrapper"
        config.optim_wrapper.setdefault("loss_scale", "dynamic")
    if args.auto_scale_lr:
        if "base_batch_size" not in config.get("auto_scale_lr", {}):
            raise SystemExit("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
        config.auto_scale_lr.enable = True
    if args.resume:
        checkpoint = checkpoint_to_resume(args.resume, Path(config.work_dir))
        config.resume = checkpoint is not None
        config.load_from = checkpoint or config.get("load_from")
    if args.init_student:
        if not is_distillation(config):
            raise SystemExit(
                "--init-student is for distillations; for a plain training write --cfg-options load_from=FILE"
            )
        config.model.init_student = args.init_student
    use_student_checkpoints(config)
    if args.allow_teacher_change:
        allow_teacher_change(config)


def registered(runner: Runner, kind: type[Hook]) -> Hook:
    """The runner's hook of that kind: the config's, else one with its default options."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, kind)), None)
    if hook is None:
        hook = kind()
        runner.register_hook(hook)
    return hook


def train(config: Config, choice: str) -> None:
    """Train, and turn the most common errors into short messages.

    Args:
        config: The complete config.
        choice: Goes into the log, if it says anything.
    """
    try:
        runner = build_runner(config)
        if choice:
            runner.logger.info(choice)
        hook = registered(runner, NonFiniteLossHook)
        registered(runner, SimilarityHook)
        build_training_set(runner)
        runner.train()
    except FloatingPointError as error:
        failed = hook.failed_step(runner)
        if failed is None:  # another process failed, and saves its step
            raise SystemExit(str(error)) from error
        path = save_step(runner, failed)
        raise SystemExit(
            f"{error}. Batch and weights are in {path}; `python tools/replay_nonfinite.py {path}` repeats the step"
        ) from error
    except URLError as error:
        raise SystemExit(preflight.download_advice(config, error.reason)) from error


def main() -> None:
    args = parse_args()
    distillation, choice = teacher_and_student(args)
    config = runner_config(args, distillation)
    apply_options(args, config)
    preflight.check_teacher_checkpoint(config)
    preflight.check_strategy(config)
    preflight.check_hooks(config)
    preflight.check_operators()
    preflight.check_pretrained_weights(config)
    preflight.check_annotations(config)
    check_work_dir(config)
    with reserved(config, resumes=bool(config.get("resume"))):
        if args.check_teacher:
            check_teacher(config, args.check_teacher)
        train(config, choice)


if __name__ == "__main__":
    run_tool(main)
