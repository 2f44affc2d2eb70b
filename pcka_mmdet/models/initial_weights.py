"""Initial weights: a teacher's from its checkpoint, a student's from a checkpoint or from its teacher."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import nn

from pcka_mmdet.checkpoints.files import read_weights
from pcka_mmdet.checkpoints.matching import Problem, load_what_fits, of_part, summarise
from pcka_mmdet.checkpoints.student import STUDENT, student_path, student_weights
from pcka_mmdet.configuration.sentence import warn

from .levels import neck_levels
from .sources import PARTS

if TYPE_CHECKING:
    from .teacher.teacher import Teacher


def load_strictly(detector: BaseModel, checkpoint: str) -> tuple[str | None, list[Problem]]:
    """Load a detector's weights from a file or URL. Returns its sha256, and the keys of the head that differ.

    Every key of backbone and neck must fit. Keys of the heads that differ are not loaded; running that head is then an
    error. Branches of a RoI head that the detector lacks (the mask head of Mask R-CNN) are left out.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read or is a distillation's, or keys of backbone or neck are missing, unexpected
            or of another shape.
    """
    weights, sha256 = read_weights(checkpoint)
    if any(key.startswith(STUDENT) for key in weights):
        raise ValueError(
            f"teacher_ckpt {checkpoint!r} is a distillation's checkpoint: give its student, the file "
            f"{student_path(checkpoint).name} beside it, or the file that `pcka-mmdet export` writes"
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
        warn(f"the teacher's head differs from {checkpoint!r}: {summarise(problems)}")

        def refuse(*_: Any) -> None:
            raise RuntimeError(f"the head of the teacher was not loaded from {checkpoint!r}: {summarise(problems)}")

        for part, child in detector.named_children():
            for module in child.modules() if of_part(problems, part) else ():
                module.register_forward_pre_hook(refuse)
    print_log(f"teacher: {name}, {len(loaded)} tensors loaded from {checkpoint!r} (sha256 {sha256})", "current")
    return sha256, problems


def start_from_checkpoint(student: nn.Module, checkpoint: str) -> None:
    """Load the student's weights from MMDetection's checkpoint or a distillation's; warns about those that differ.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, or no key and shape agree.
    """
    weights, sha256 = read_weights(checkpoint, "init_student")
    loaded, problems = load_what_fits(student, student_weights(weights))
    if not loaded:
        raise ValueError(
            f"init_student {checkpoint!r} has nothing of the student, a {type(student).__name__}: "
            f"{summarise(problems)}. Give a checkpoint of the student's config"
        )
    print_log(f"student: {len(loaded)} tensors loaded from {checkpoint!r} (sha256 {sha256})", "current")
    if problems:
        warn(f"student, not loaded from it: {summarise(problems)}")


def inherit(student: nn.Module, teacher: "Teacher", parts: Sequence[str]) -> None:
    """Copy the teacher's weights of some parts, such as `'roi_head.bbox_head'`, where names and shapes agree.

    Necks and heads number their modules by level, so they are copied only between necks of equal strides.

    Raises:
        ValueError: A side lacks a part, no tensor agrees, the teacher's part was not loaded in full, or the necks'
            strides differ and a part is not the backbone's.
        RuntimeError: The teacher has run, so its weights may be fused.
    """
    if parts and teacher.neck_forward.has_fused:
        raise RuntimeError(
            "inherit: the teacher has run already, and its batch norms may be in its convolutions: initialise the "
            "model before its first step, or write fuse_teacher=False"
        )
    for part in parts:
        if part.partition(".")[0] != "backbone":
            strides = [[level.stride for level in neck_levels(model)] for model in (student, teacher.detector)]
            if strides[0] != strides[1]:
                raise ValueError(
                    f"inherit: the student's neck has strides {strides[0]}, the teacher's {strides[1]}, so {part!r} "
                    "would be copied to levels that it was not trained for: leave it out"
                )
        tensors = []
        for name, model in (("student", student), ("teacher", teacher.detector)):
            tensors.append({key: value for key, value in model.state_dict().items() if key.startswith(f"{part}.")})
            if not tensors[-1]:
                raise ValueError(
                    f"inherit: the {name} has no {part!r}; it has {[child for child, _ in model.named_children()]}"
                )
        unloaded = of_part(teacher.problems, part)
        if unloaded:
            raise ValueError(f"inherit: {part!r} of the teacher was not loaded in full: {summarise(unloaded)}")
        copied, problems = load_what_fits(student, tensors[1])
        if not copied:
            raise ValueError(f"inherit: no tensor of {part!r} has the same name and shape on both sides: leave it out")
        left = [problem for problem in problems if problem.key in tensors[0]]
        rest = f"; left as initialised: {summarise(left)}" if left else ""
        number = f"{len(copied)} of {len(tensors[0])}"
        print_log(f"student: {number} tensors of {part!r} copied from the teacher{rest}", "current")
