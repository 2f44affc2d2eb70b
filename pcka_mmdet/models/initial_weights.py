"""Weights that a student starts from: its own checkpoint's, its teacher's."""

import logging
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import Tensor, nn

from .checkpoint_file import listed, load_what_fits, read_weights
from .teacher import Teacher

STUDENT = "architecture."
"""What the student's keys begin with in a distillation."""


def start_from_checkpoint(student: nn.Module, checkpoint: str) -> None:
    """Load what fits of a plain MMDetection checkpoint of the student, or of a distillation's.

    Arrays of other shapes, a head for other classes for instance, are left as they were initialised, with a warning.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, or no key and shape agree.
    """
    weights, sha256 = read_weights(checkpoint, "init_student")
    weights = student_weights(weights)
    loaded, problems = load_what_fits(student, weights)
    if not loaded:
        raise ValueError(
            f"init_student {checkpoint!r} has nothing of the student, a {type(student).__name__}: {listed(problems)}. "
            "Give a checkpoint of the student's own config"
        )
    print_log(f"student: {len(loaded)} arrays loaded from {checkpoint!r} (sha256 {sha256})", "current")
    if problems:
        print_log(f"student, left as initialised: {listed(problems)}", "current", level=logging.WARNING)


def student_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student's arrays by the names that a plain checkpoint has, whichever of both `weights` came from."""
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    own = {key.removeprefix(STUDENT): value for key, value in weights.items() if key.startswith(STUDENT)}
    return own or weights


def add_student_prefix(student: nn.Module, state_dict: dict[str, Tensor], prefix: str = "") -> None:
    """Rename, in place, the keys of a plain checkpoint of the student to those of a distillation.

    Args:
        student: The student.
        state_dict: What is about to be loaded into the distillation; left as it is where it is one's own.
        prefix: What the keys of the distillation begin with, `'module.'` within an average of models.

    Raises:
        ValueError: No key is the student's, plain or as a distillation has it: MMEngine would go on with a warning.
    """
    own = {f"{prefix}{key}" for key in student.state_dict()}
    if not state_dict or any(key.startswith(f"{prefix}{STUDENT}") for key in state_dict):
        return
    plain = [key for key in state_dict if key in own]
    if not plain:
        raise ValueError(
            f"the checkpoint has nothing of the student, a {type(student).__name__}: its keys are "
            f"{listed(list(state_dict))}. Give a checkpoint of the student's own config, or of a distillation of it"
        )
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f"{prefix}{STUDENT}{key.removeprefix(prefix)}"] = state_dict.pop(key)


def inherit(
    student: nn.Module, teacher: Teacher, parts: Sequence[str], strides: tuple[Sequence[int], Sequence[int]]
) -> None:
    """Copy the teacher's weights in `parts` to the student where names and shapes agree, and say what was copied.

    Args:
        student: The student.
        teacher: The teacher, loaded.
        parts: Names of children, such as `('neck', 'bbox_head')`; or dotted, `'roi_head.bbox_head'`.
        strides: Of the levels of both necks. Names of arrays count levels, so they mean the same where these agree.

    Raises:
        ValueError: A part is not there, or nothing of it agrees, or the teacher's part was not loaded in full, or
            something else than the backbone is to be copied between necks of different strides.
        RuntimeError: The teacher has run, so that its weights may be fused.
    """
    if parts and teacher.neck_forward.has_fused:
        raise RuntimeError(
            "inherit: the teacher has run already, and its batch norms may be in its convolutions: initialise the "
            "model before its first step, or write fuse_teacher=False"
        )
    for part in parts:
        if part.partition(".")[0] != "backbone" and list(strides[0]) != list(strides[1]):
            raise ValueError(
                f"inherit: the student's neck has strides {list(strides[0])}, the teacher's {list(strides[1])}, so "
                f"{part!r} would be copied to other levels than it was trained for: leave it out"
            )
        own, others = (
            {key: value for key, value in detector.state_dict().items() if key.startswith(f"{part}.")}
            for detector in (student, teacher.detector)
        )
        for side, arrays, detector in (("student", own, student), ("teacher", others, teacher.detector)):
            if not arrays:
                raise ValueError(
                    f"inherit: the {side} has no {part!r}; it has {[name for name, _ in detector.named_children()]}"
                )
        unloaded = [problem for problem in teacher.problems if f"{part}." in problem]
        if unloaded:
            raise ValueError(f"inherit: {part!r} of the teacher was not loaded in full: {listed(unloaded)}")
        copied = [key for key, value in others.items() if key in own and own[key].shape == value.shape]
        student.load_state_dict({key: others[key] for key in copied}, strict=False)
        left = [key for key in own if key not in copied]
        if not copied:
            raise ValueError(f"inherit: no array of {part!r} has the same name and shape on both sides: leave it out")
        rest = f"; left as initialised: {listed(left)}" if left else ""
        print_log(f"student: {len(copied)} of {len(own)} arrays of {part!r} copied from the teacher{rest}", "current")
