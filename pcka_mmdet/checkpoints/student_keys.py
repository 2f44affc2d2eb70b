"""Names of the student's arrays: plain MMDetection's, and those within a distillation."""

from torch import Tensor, nn

from .files import summarise

STUDENT = "architecture."
"""What the student's keys begin with in a distillation."""


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
            f"{summarise(list(state_dict))}. Give a checkpoint of the student's own config, or of a distillation of it"
        )
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f"{prefix}{STUDENT}{key.removeprefix(prefix)}"] = state_dict.pop(key)
