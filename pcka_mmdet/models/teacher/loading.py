"""Strict loading of a teacher's weights."""

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModel

from pcka_mmdet.checkpoints.files import read_weights
from pcka_mmdet.checkpoints.matching import Problem, load_what_fits, of_part, summarise
from pcka_mmdet.checkpoints.student import STUDENT, student_path

from .optimisation import PARTS


def load_strictly(detector: BaseModel, checkpoint: str) -> tuple[str | None, list[Problem]]:
    """Load a detector's weights. Every key of backbone and neck must fit.

    Keys of the heads that differ are logged and not loaded; running that head is then an error. Branches of a RoI head
    that the detector lacks, such as the mask head of Mask R-CNN's weights, are left out.

    Args:
        detector: The detector to load into.
        checkpoint: File or URL of an MMDetection checkpoint.

    Returns:
        The sha256 of the file, and the keys of the head that differ.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read or is a distillation's, or keys of backbone or neck are missing, unexpected
            or of another shape.
    """
    weights, sha256 = read_weights(checkpoint)
    if any(key.startswith(STUDENT) for key in weights):
        raise ValueError(
            f"teacher_ckpt {checkpoint!r} is a distillation's checkpoint: give its student, the file "
            f"{student_path(checkpoint).name} beside it, or what `pcka-mmdet export` makes of it"
        )
    branches = {name for name, _ in detector.named_modules()}
    extra = [key for key in weights if key.startswith("roi_head.") and ".".join(key.split(".")[:2]) not in branches]
    weights = {key: value for key, value in weights.items() if key not in extra}
    loaded, problems = load_what_fits(detector, weights)
    required = [problem for part in PARTS for problem in of_part(problems, part)]
    name = type(detector).__name__
    if required:
        raise ValueError(
            f"teacher_ckpt {checkpoint!r} is of another architecture than the teacher's config, a {name}: "
            f"{summarise(required, most=3)}. Give the checkpoint that belongs to the teacher's config"
        )
    if problems:
        print_log(
            f"the teacher's head differs from {checkpoint!r}: {summarise(problems)}", "current", level=logging.WARNING
        )

        def refuse(*_: Any) -> None:
            raise RuntimeError(f"the head of the teacher was not loaded from {checkpoint!r}: {summarise(problems)}")

        for part, child in detector.named_children():
            for module in child.modules() if of_part(problems, part) else ():
                module.register_forward_pre_hook(refuse)
    print_log(f"teacher: {name}, {len(loaded)} tensors loaded from {checkpoint!r} (sha256 {sha256})", "current")
    return sha256, problems
