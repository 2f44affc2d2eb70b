"""Load the weights that fit a model, and list those that do not."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

COUNTER = "num_batches_tracked"
"""A batch norm's counter."""


class Problem(NamedTuple):
    """A key of a model or of a checkpoint that was not loaded."""

    key: str
    text: str

    def __str__(self) -> str:
        return self.text


def load_what_fits(model: nn.Module, weights: dict[str, Tensor]) -> tuple[list[str], list[Problem]]:
    """Load the tensors whose name and shape match the model's; its modules convert old names.

    Returns:
        The loaded names, and a problem for each key that is missing, unexpected, or of another shape, except for a
        batch norm's counter.
    """
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    misshapen = [key for key, value in weights.items() if shapes.get(key, value.shape) != value.shape]
    fitting = {key: value for key, value in weights.items() if key not in misshapen}
    missing, unexpected, renamed = [], [], []

    def note(module: nn.Module, result: Any) -> None:
        missing.extend(result.missing_keys)
        unexpected.extend(result.unexpected_keys)

    handle = model.register_load_state_dict_post_hook(note)
    try:
        model.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        renamed = re.findall(r"size mismatch for (\S+):", str(error))
        if not renamed:
            raise
        # a module took a key of another model for an old name of one of its keys; the rest was loaded
    finally:
        handle.remove()
    problems = [
        Problem(key, f"{key}: shape {tuple(weights[key].shape)} in the checkpoint, {tuple(shapes[key])} in the model")
        for key in misshapen
    ]
    problems += [Problem(key, f"{key}: of another shape in the checkpoint") for key in renamed]
    problems += [Problem(key, f"missing {key}") for key in missing if key not in misshapen]
    problems += [Problem(key, f"unexpected {key}") for key in unexpected]
    absent = {*missing, *misshapen, *renamed}
    # a batch norm without a counter in the checkpoint creates one
    loaded = [key for key in shapes if key not in absent and (key in weights or not key.endswith(COUNTER))]
    return loaded, [problem for problem in problems if not problem.key.endswith(COUNTER)]


def of_part(problems: Iterable[Problem], part: str) -> list[Problem]:
    """The problems whose key begins with a module's name."""
    return [problem for problem in problems if problem.key.startswith(f"{part}.")]


def summarise(lines: Sequence[str | Problem], most: int = 8) -> str:
    """The first lines, and how many more there are."""
    more = f" and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(map(str, lines[:most])) + more
