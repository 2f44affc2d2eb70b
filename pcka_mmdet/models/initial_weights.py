"""Initial weights of a student: from a checkpoint, or from its teacher."""

import logging
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import nn

from pcka_mmdet.checkpoints.files import read_weights
from pcka_mmdet.checkpoints.matching import load_what_fits, of_part, summarise
from pcka_mmdet.checkpoints.student import student_weights

from .levels import neck_levels
from .teacher import Teacher


def start_from_checkpoint(student: nn.Module, checkpoint: str) -> None:
    """Load the student's weights from a plain MMDetection checkpoint or a distillation's.

    Tensors whose shapes differ (a head for other classes) keep their initial values, with a warning.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, or no key and shape agree.
    """
    weights, sha256 = read_weights(checkpoint, "init_student")
    loaded, problems = load_what_fits(student, student_weights(weights))
    if not loaded:
        raise ValueError(
            f"init_student {checkpoint!r} has nothing of the student, a {type(student).__name__}: "
            f"{summarise(problems)}. Give a checkpoint of the student's own config"
        )
    print_log(f"student: {len(loaded)} tensors loaded from {checkpoint!r} (sha256 {sha256})", "current")
    if problems:
        print_log(f"student, not loaded from it: {summarise(problems)}", "current", level=logging.WARNING)


def inherit(student: nn.Module, teacher: Teacher, parts: Sequence[str]) -> None:
    """Copy the teacher's weights of some parts to the student where names and shapes agree, and log what was copied.

    Args:
        student: The student.
        teacher: The teacher, loaded.
        parts: Names of modules, such as `('neck', 'bbox_head')` or `'roi_head.bbox_head'`. Necks and heads number
            their modules by level, so they are copied only between necks of equal strides.

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
    student_state, teacher_state = student.state_dict(), teacher.detector.state_dict()
    for part in parts:
        if part.partition(".")[0] != "backbone":
            strides = [[level.stride for level in neck_levels(model)] for model in (student, teacher.detector)]
            if strides[0] != strides[1]:
                raise ValueError(
                    f"inherit: the student's neck has strides {strides[0]}, the teacher's {strides[1]}, so {part!r} "
                    "would be copied to other levels than it was trained for: leave it out"
                )
        keys = [key for key in student_state if key.startswith(f"{part}.")]
        weights = {key: value for key, value in teacher_state.items() if key.startswith(f"{part}.")}
        for name, present, model in (("student", keys, student), ("teacher", weights, teacher.detector)):
            if not present:
                raise ValueError(
                    f"inherit: the {name} has no {part!r}; it has {[child for child, _ in model.named_children()]}"
                )
        unloaded = of_part(teacher.problems, part)
        if unloaded:
            raise ValueError(f"inherit: {part!r} of the teacher was not loaded in full: {summarise(unloaded)}")
        copied = [key for key in keys if key in weights and student_state[key].shape == weights[key].shape]
        if not copied:
            raise ValueError(f"inherit: no tensor of {part!r} has the same name and shape on both sides: leave it out")
        student.load_state_dict({key: weights[key] for key in copied}, strict=False)
        left = [key for key in keys if key not in copied]
        rest = f"; left as initialised: {summarise(left)}" if left else ""
        print_log(f"student: {len(copied)} of {len(keys)} tensors of {part!r} copied from the teacher{rest}", "current")
