"""Keys of the student's weights, in a plain checkpoint and in a distillation's."""

from torch import Tensor, nn

from .matching import summarise

STUDENT = "architecture."
"""Prefix of the student's keys in a distillation."""


def student_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student's weights with a plain checkpoint's keys, from a plain checkpoint or a distillation's."""
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    own = {key.removeprefix(STUDENT): value for key, value in weights.items() if key.startswith(STUDENT)}
    return own or weights


def add_student_prefix(student: nn.Module, state_dict: dict[str, Tensor], prefix: str) -> None:
    """Add the student's prefix, in place, to the keys of a plain checkpoint.

    Args:
        student: The student.
        state_dict: What will be loaded into the distillation; a distillation's own is left as it is.
        prefix: Prefix of the distillation's keys: `'module.'` under EMAHook.

    Raises:
        ValueError: No key is the student's, with or without the prefix. MMEngine would only warn.
    """
    own = {f"{prefix}{key}" for key in student.state_dict()}
    if not state_dict or any(key.startswith(f"{prefix}{STUDENT}") for key in state_dict):
        return
    plain = [key for key in state_dict if key in own]
    if not plain:
        raise ValueError(
            f"the checkpoint has nothing of the student, a {type(student).__name__}: its keys are "
            f"{summarise(list(state_dict))}. Give a checkpoint of the student's own config, or of a distillation of it"
        )
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f"{prefix}{STUDENT}{key.removeprefix(prefix)}"] = state_dict.pop(key)
