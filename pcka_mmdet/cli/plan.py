"""Cost of a distillation, computed from its config: `pcka-mmdet plan CONFIG --gpus 8 64`.

The formulas are printed with the results; docs/performance.md explains them. A measured step takes their place.
"""

import argparse
from pathlib import Path

from mmengine.registry import DefaultScope
from rich.console import Console

from pcka_mmdet.configuration.complexity import multiply_adds
from pcka_mmdet.configuration.distillation import is_fpn_distill
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.configuration.schedule import iterations
from pcka_mmdet.engine import plan
from pcka_mmdet.models.recipes import losses_of, write_out_recipe
from pcka_mmdet.report.scalars import median_step, read_scalars
from pcka_mmdet.report.theme import console_table

from .arguments import SIZE, positive

MEBI = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config of a distillation")
    parser.add_argument("--gpus", type=positive, nargs="+", default=[8, 64])
    parser.add_argument("--batch", type=positive, help="images per GPU (default: the config's)")
    parser.add_argument("--size", help="of the padded image in pixels (default: of the config's pipeline)", **SIZE)
    parser.add_argument("--epochs", type=positive, help="default: the config's")
    parser.add_argument("--images", type=positive, help="default: those of the annotation file (COCO's are known)")
    what = "seconds per step of the {}, or a work directory whose log has them"
    parser.add_argument("--student-step", metavar="STEP", help=what.format("student alone"))
    what += " (default: the config's folder, unless --batch or --size differs)"
    parser.add_argument("--step", metavar="STEP", help=what.format("distillation"))


def seconds_per_step(given: str | None) -> float | None:
    """The value of `--step`: a number, or the median of the steps in a work directory's log."""
    if given is None:
        return None
    try:
        return float(given)
    except ValueError:
        seconds = median_step(read_scalars(Path(given)))
    if seconds is None:
        raise ValueError(f"{given!r} is no number of seconds, and no work directory with the log of a training")
    return seconds


def duration(seconds: float | None) -> str:
    """Hours, minutes below one hour, or seconds below one minute; empty if unknown."""
    if not seconds:
        return ""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def mebibytes(count: float) -> str:
    return f"{count / MEBI:.0f} MiB"


def run(args: argparse.Namespace) -> None:
    console = Console(width=120)
    config = load_config(args.config)
    if not is_fpn_distill(config):
        raise ValueError(
            f"{args.config} is no config of an FPNDistill: give one, such as RECIPE_TEACHER_STUDENT.py in WORK_DIR"
        )
    write_out_recipe(config.model)
    if "teachers" in config.model:
        raise ValueError("a plan is for one teacher: give a config with `teacher` for each of these `teachers`")
    if config.model.get("teacher_scale", 1) > 1:
        raise ValueError("a plan is for teachers of the student's image size: set model.teacher_scale=1")
    alone = seconds_per_step(args.student_step)
    distilled, batch = seconds_per_step(args.step), args.batch or config.train_dataloader.batch_size
    if distilled is None and args.size is None and batch == config.train_dataloader.batch_size:
        distilled = median_step(read_scalars(Path(args.config).parent))
    epochs = args.epochs or config.train_cfg.get("max_epochs")
    if epochs is None:
        raise ValueError(f"{args.config} counts iterations, not epochs: give --epochs")
    images = args.images or plan.training_images(config, args.config)
    size = args.size or plan.training_size(config, args.config)
    DefaultScope.get_instance("plan", scope_name="mmdet")
    losses, model = losses_of(config.model), plan.build_untrained(config)
    student = multiply_adds(model.student.eval(), *size)
    teacher = plan.count_teacher(model.teacher, size, losses)
    proposals, passes = teacher.proposals, plan.head_passes(losses)
    factor = 1 + (teacher.to_neck + passes * teacher.head + 3 * teacher.roi_head) / (3 * student)
    memory = plan.count_memory(model, config, size)
    maps = batch * memory.teacher_maps
    formula = "1 + (T + nH + 3R) / 3S" if teacher.roi_head else "1 + (T + nH) / 3S"
    measured = f"{distilled / alone:.2f}" if alone and distilled else None
    has_pcka = any(last_name(loss["type"]) == "PCKALoss" for loss in losses.values())
    pcka = mebibytes(min(6 * maps, 2 * maps + 320 * MEBI)) if has_pcka else None
    cells = {
        "student's multiply-adds an image, S": f"{student / 1e9:.3g} G",
        "teacher's to its neck, T": f"{teacher.to_neck / 1e9:.3g} G",
        "its dense head's, or RPN's, H": f"{teacher.head / 1e9:.3g} G",
        "passes through it in a step, n": f"{passes:g}",
        f"its RoI head's for {proposals} proposals, R": f"{teacher.roi_head / 1e9:.3g} G" if proposals else None,
        f"a step over the student's alone, {formula}": f"{factor:.2f}",
        "the same, measured": measured,
        "student: weights and gradients": mebibytes(memory.student + memory.gradients),
        f"state of {config.optim_wrapper.optimizer.type}": mebibytes(memory.optimizer),
        "averaged weights (EMA)": mebibytes(memory.average) if memory.average else None,
        "a step keeps for its backward, student alone": mebibytes(batch * memory.kept_alone),
        "the same by the distillation's losses, heads included": mebibytes(batch * (memory.kept - memory.kept_alone)),
        "teacher's weights in float32, its head included": mebibytes(memory.teacher),
        "teacher's maps": mebibytes(maps),
        "PCKA on a GPU: 6 x maps, or 2 x maps + 320": pcka,
        "a checkpoint: weights, optimizer, EMA": mebibytes(memory.checkpoint),
        "a student's checkpoint: weights": mebibytes(memory.student_alone),
    }
    rows = [[name, cell] for name, cell in cells.items() if cell is not None]
    console.print(console_table([f"{size[0]}x{size[1]}, batch {batch} a GPU, float32", ""], rows))
    step = distilled or (alone and alone * factor)
    rows = []
    for gpus in args.gpus:
        steps = iterations(images, batch, epochs, gpus)
        sent = mebibytes(2 * (gpus - 1) / gpus * memory.gradients)
        times = [duration(seconds and steps * seconds) for seconds in (alone, step)]
        rows.append([f"{gpus}", f"{steps:,}", sent, *times])
    how = "distilled, measured" if distilled else "distilled, by the formula"
    header = ["GPUs", "steps", "sent by a GPU a step", "student alone", how]
    console.print(console_table(header, rows, title=f"{images:,} images, {epochs} epochs"))
    console.print("A GPU sends 2 (n - 1) / n times the student's gradients (ring all-reduce), nothing of the teacher.")
