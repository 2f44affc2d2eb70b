"""Cost of a distillation, computed from its config: `tools/plan.py CONFIG --gpus 8 64`.

Both detectors run on a zero image, to count their multiply-adds; nothing else runs. The formulas are printed with the
results; docs/performance.md explains them.
"""

import argparse
import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmengine.analysis import parameter_count
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from rich.console import Console
from torch import Tensor

from pcka_mmdet.configuration.data_set import all_innermost, annotation_file, repeats
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import is_fpn_distill, padded_size
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.configuration.schedule import num_images
from pcka_mmdet.models.losses import RoIHeadLoss
from pcka_mmdet.models.recipes import write_out_recipe
from pcka_mmdet.models.sources import dense_head, stages
from pcka_mmdet.models.teacher.heads import run_roi_head
from pcka_mmdet.report.complexity import multiply_adds
from pcka_mmdet.report.theme import console_table

from .arguments import positive

COCO, COCO_IMAGES = "instances_train2017.json", 117_266
"""COCO's training annotations, and the images in them that have boxes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("config", help="config of a distillation")
    parser.add_argument("--gpus", type=positive, nargs="+", default=[8, 64])
    parser.add_argument("--batch", type=positive, help="images per GPU (default: the config's)")
    parser.add_argument(
        "--size",
        type=positive,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of the padded image in pixels (default: of the config's first Resize)",
    )
    parser.add_argument("--epochs", type=positive, help="default: the config's")
    parser.add_argument("--images", type=positive, help="default: those of the annotation file (COCO's are known)")
    parser.add_argument("--student-step", type=float, help="seconds per step of the student alone, from its log")


class StudentCounts(NamedTuple):
    """Counts of the student, for one image."""

    whole: int
    """Multiply-adds of a prediction."""
    parameters: int
    trainable: int
    """Parameters that are trained."""
    map_values: int
    """Values of the neck maps."""


def count_student(spec: dict, size: Sequence[int]) -> StudentCounts:
    """Build the student and count."""
    detector = build_detector(spec).eval()
    trainable = sum(parameter.numel() for parameter in detector.parameters() if parameter.requires_grad)
    values = sum(m.numel() for m in neck_maps(detector, size))
    return StudentCounts(multiply_adds(detector, *size), parameter_count(detector)[""], trainable, values)


class TeacherCounts(NamedTuple):
    """Counts of the teacher, for one image."""

    to_neck: int
    """Multiply-adds of backbone and neck."""
    head: int
    """Of the dense head, or RPN; 0 where no loss needs it."""
    roi_head: int
    """Of the RoI head, for the proposals that are compared."""
    parameters: int
    map_values: int
    """Values of the neck maps."""


def count_teacher(spec: dict, size: Sequence[int], losses: dict[str, dict]) -> TeacherCounts:
    """Build the teacher and count what these losses need."""
    detector, proposals = build_detector(spec).eval(), compared_proposals(losses)

    def with_neck(head: Callable[[tuple[Tensor, ...]], tuple]) -> int:
        """Multiply-adds of backbone, neck and a head on the maps."""

        def forward(images: Tensor) -> tuple:
            maps = tuple(detector.extract_feat(images))
            return maps, head(maps)

        return multiply_adds(detector, *size, forward)

    def roi_head(maps: tuple[Tensor, ...]) -> tuple:
        rois = torch.tensor([[0.0, 0, 0, size[1] / 2, size[0] / 2]]).repeat(proposals, 1)
        outputs = run_roi_head(detector, maps, [rois] * len(stages(detector.roi_head, "bbox_head")))
        return tuple(map(tuple, outputs))

    to_neck = with_neck(lambda maps: ())
    return TeacherCounts(
        to_neck,
        head=with_neck(lambda maps: tuple(dense_head(detector)(maps))) - to_neck if head_passes(losses) else 0,
        roi_head=with_neck(roi_head) - to_neck if proposals else 0,
        parameters=parameter_count(detector)[""],
        map_values=sum(m.numel() for m in neck_maps(detector, size)),
    )


@torch.no_grad()
def neck_maps(detector: BaseModel, size: Sequence[int]) -> Sequence[Tensor]:
    """The neck's maps of a zero image."""
    return detector.extract_feat(torch.zeros(1, 3, *size))


def take_from(config: Config, args: argparse.Namespace) -> None:
    """Fill in what the command line leaves out.

    Raises:
        ValueError: The config does not say it either.
    """
    datasets, times = all_innermost(config.train_dataloader.dataset), repeats(config.train_dataloader.dataset)
    args.batch = args.batch or config.train_dataloader.batch_size
    args.epochs = args.epochs or config.train_cfg.get("max_epochs")
    if args.epochs is None:
        raise ValueError(f"{args.config} counts iterations, not epochs: give --epochs")
    if args.images is None:
        dataset = datasets[0]
        if len(datasets) > 1 or not str(dataset.get("ann_file", "")).endswith(".json"):
            raise ValueError(f"the training set of {args.config} is not one file in COCO's format: give --images")
        path = annotation_file(dataset)
        if path.is_file():
            args.images = num_images(dataset) * times
        elif path.name == COCO:
            args.images = COCO_IMAGES * times
        else:
            raise ValueError(f"there is no annotation file at {str(path)!r} to count the images in: give --images")
    if args.size is None:
        args.size = padded_size(config)
        if args.size is None:
            raise ValueError(f"the pipeline of {args.config} has no Resize with a scale: give --size HEIGHT WIDTH")


def head_passes(losses: dict[str, dict]) -> float:
    """Passes through the teacher's dense head in a step with these losses, a forward and a backward being one each.

    One is on the teacher's maps, two are on the student's.
    """
    shares = {last_name(loss["type"]): loss.get("images", 1.0) for loss in losses.values()}
    if "HeadLoss" in shares:
        return 1 + 2 * shares["HeadLoss"]
    return 1.0 if {"OwnHeadLoss", "RoIHeadLoss"} & shares.keys() else 0.0


def compared_proposals(losses: dict[str, dict]) -> int:
    """Proposals of an image for which the teacher's RoI head is compared."""
    options = [loss for loss in losses.values() if last_name(loss["type"]) == "RoIHeadLoss"]
    default = inspect.signature(RoIHeadLoss).parameters["proposals"].default
    return sum(loss.get("proposals", default) for loss in options)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    console = Console(width=120)
    config = load_config(args.config)
    if not is_fpn_distill(config):
        raise ValueError(
            f"{args.config} is no config of an FPNDistill: give one, such as RECIPE_TEACHER_STUDENT.py in WORK_DIR"
        )
    write_out_recipe(config.model)
    if "teachers" in config.model:
        raise ValueError("a plan is for one teacher: give a config with `teacher` for each of these `teachers`")
    take_from(config, args)
    DefaultScope.get_instance("plan", scope_name="mmdet")
    losses = {name: loss for name, loss in config.model.distiller.losses.items() if loss}  # None leaves one out
    student = count_student(config.model.architecture, args.size)
    teacher = count_teacher(config.model.teacher, args.size, losses)
    passes = head_passes(losses)
    more = (teacher.to_neck + passes * teacher.head + 3 * teacher.roi_head) / (3 * student.whole)
    mega = 2**20
    maps = 4 * args.batch * student.map_values / mega
    pcka = [["PCKA on a GPU: 6 x maps, or 2 x maps + 320", f"{min(6 * maps, 2 * maps + 320):.0f} MiB"]]
    of_roi_head = [[f"its RoI head's for {compared_proposals(losses)} proposals, R", f"{teacher.roi_head / 1e9:.3g} G"]]
    formula = "1 + (T + nH + 3R) / 3S" if teacher.roi_head else "1 + (T + nH) / 3S"
    rows = [
        ["student's multiply-adds an image, S", f"{student.whole / 1e9:.3g} G"],
        ["teacher's to its neck, T", f"{teacher.to_neck / 1e9:.3g} G"],
        ["its dense head's, or RPN's, H", f"{teacher.head / 1e9:.3g} G"],
        ["passes through it in a step, n", f"{passes:g}"],
        *(of_roi_head if teacher.roi_head else []),
        [f"a step over the student's alone, {formula}", f"{1 + more:.2f}"],
        ["teacher's share of a step", f"{more / (1 + more):.0%}"],
        ["teacher's weights in float32, its head included", f"{4 * teacher.parameters / mega:.0f} MiB"],
        ["teacher's maps, batch x values x 4 bytes", f"{4 * args.batch * teacher.map_values / mega:.0f} MiB"],
        *(pcka if any(last_name(loss["type"]) == "PCKALoss" for loss in losses.values()) else []),
        ["a checkpoint: weights, momentum", f"{4 * (student.parameters + student.trainable) / mega:.0f} MiB"],
        ["a student's checkpoint: weights", f"{4 * student.parameters / mega:.0f} MiB"],
    ]
    console.print(console_table([f"{args.size[0]}x{args.size[1]}, batch {args.batch} a GPU", ""], rows))
    rows = []
    for gpus in args.gpus:
        steps = args.images * args.epochs // (args.batch * gpus)
        sent = 2 * (gpus - 1) / gpus * 4 * student.trainable
        hours = f"{steps * args.student_step * (1 + more) / 3600:.1f}" if args.student_step else ""
        alone = f"{steps * args.student_step / 3600:.1f}" if args.student_step else ""
        rows.append([f"{gpus}", f"{steps:,}", f"{sent / mega:.0f} MiB", alone, hours])
    header = ["GPUs", "steps", "sent by a GPU a step", "hours, student alone", "hours, distilled"]
    console.print(console_table(header, rows, title=f"{args.images:,} images, {args.epochs} epochs"))
    console.print(
        "A GPU sends 2 (n - 1) / n times the student's gradients (ring all-reduce), and nothing of the teacher."
    )
