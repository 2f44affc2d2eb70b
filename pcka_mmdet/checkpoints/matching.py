"""Load the weights that fit a model, and list those that do not."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

COUNTER = "num_batches_tracked"
"""A batch norm's counter."""

MISMATCH = re.compile(r"size mismatch for (\S+): .+? torch\.Size\(\[(.*?)\]\) .+? torch\.Size\(\[(.*?)\]\)")
"""A line of torch's error: key, shape in the checkpoint, shape in the model."""


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
    missing, unexpected, misshapen = [], [], []

    def note(module: nn.Module, result: Any) -> None:
        missing.extend(result.missing_keys)
        unexpected.extend(result.unexpected_keys)

    handle = model.register_load_state_dict_post_hook(note)
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # the rest was loaded
        misshapen = MISMATCH.findall(str(error))
        if not misshapen:
            raise
    finally:
        handle.remove()
    problems = [
        Problem(key, f"{key}: shape ({given}) in the checkpoint, ({expected}) in the model")
        for key, given, expected in misshapen
    ]
    problems += [Problem(key, f"missing {key}") for key in missing]
    problems += [Problem(key, f"unexpected {key}") for key in unexpected]
    absent = {problem.key for problem in problems}
    # a batch norm without a counter in the checkpoint creates one
    names = [key for key in model.state_dict() if key in weights or not key.endswith(COUNTER)]
    loaded = [key for key in names if key not in absent]
    return loaded, [problem for problem in problems if not problem.key.endswith(COUNTER)]


def of_part(problems: Iterable[Problem], part: str) -> list[Problem]:
    """The problems whose key begins with a module's name."""
    return [problem for problem in problems if problem.key.startswith(f"{part}.")]


def summarise(lines: Sequence[str | Problem], most: int = 8) -> str:
    """The first lines, and how many more there are."""
    more = f" and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(map(str, lines[:most])) + more
