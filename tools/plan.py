"""Cost of a distillation, computed from its config: `tools/plan.py CONFIG --gpus 8 64`.

Both detectors run once on a zero image, to count their multiply-adds; nothing else runs. The formulas are printed with
the results; docs/performance.md explains them.
"""

import argparse
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from rich.console import Console

from pcka_mmdet.commands.arguments import positive
from pcka_mmdet.commands.short_errors import run_tool
from pcka_mmdet.configuration.data_set import all_innermost, annotation_file, repeats
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import is_fpn_distill, padded_size
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.experiments.schedule import num_images
from pcka_mmdet.report.complexity import multiply_adds
from pcka_mmdet.report.tables import console_table

COCO, COCO_IMAGES = "instances_train2017.json", 117_266
"""COCO's training annotations, and the images in them that have boxes."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plan a distillation: time, memory, checkpoints, network.")
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
    return parser.parse_args()


@dataclass
class Detector:
    """Counts of a detector, from one zero image."""

    to_neck: int
    """Multiply-adds of backbone and neck."""
    head: int
    """Multiply-adds of all that follows."""
    parameters: int
    trainable: int
    map_values: int

    @classmethod
    def of(cls, spec: dict, size: list[int]) -> "Detector":
        """Build and count."""
        detector = build_detector(spec).eval()
        with torch.no_grad():
            maps = detector.extract_feat(torch.zeros(1, 3, *size))
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in detector.parameters()]
        to_neck = multiply_adds(detector, *size, head=False)
        return cls(
            to_neck,
            head=multiply_adds(detector, *size) - to_neck,
            parameters=sum(n for n, _ in sizes),
            trainable=sum(n for n, wanted in sizes if wanted),
            map_values=sum(m.numel() for m in maps),
        )


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
    return 1.0 if "OwnHeadLoss" in shares else 0.0


def main() -> None:
    args, console = parse_args(), Console(width=120)
    config = load_config(args.config)
    if not is_fpn_distill(config):
        raise ValueError(
            f"{args.config} is no config of an FPNDistill: give one, such as RECIPE_TEACHER_STUDENT.py in WORK_DIR"
        )
    if "teachers" in config.model:
        raise ValueError("a plan is for one teacher: give a config with `teacher` for each of these `teachers`")
    take_from(config, args)
    DefaultScope.get_instance("plan", scope_name="mmdet")
    student, teacher = (Detector.of(config.model[side], args.size) for side in ("architecture", "teacher"))
    losses = config.model.distiller.losses
    passes, whole_student = head_passes(losses), student.to_neck + student.head
    more = (teacher.to_neck + passes * teacher.head) / (3 * whole_student)
    mega = 2**20
    maps = 4 * args.batch * student.map_values / mega
    pcka = [["PCKA on a GPU: 6 x maps, or 2 x maps + 320", f"{min(6 * maps, 2 * maps + 320):.0f} MiB"]]
    rows = [
        ["student's multiply-adds an image, S", f"{whole_student / 1e9:.3g} G"],
        ["teacher's to its neck, T", f"{teacher.to_neck / 1e9:.3g} G"],
        ["its head's, H", f"{teacher.head / 1e9:.3g} G"],
        ["passes through its head in a step, n", f"{passes:g}"],
        ["a step over the student's alone, 1 + (T + nH) / 3S", f"{1 + more:.2f}"],
        ["teacher's share of a step", f"{more / (1 + more):.0%}"],
        ["teacher's weights, its head included", f"{4 * teacher.parameters / mega:.0f} MiB"],
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


if __name__ == "__main__":
    run_tool(main)
