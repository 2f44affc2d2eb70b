"""The frozen teacher: loaded strictly, in eval mode always, fed in its own normalisation and padding.

Shape shorthand: a batch of images is `(B, 3, H, W)`.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from .images import Normalisation, crop_to_image, pad_to_multiple, renormalise, size_divisor
from .loading import load_strictly
from .neck_forward import NeckForward


class Teacher:
    """A frozen detector that gives its neck maps.

    It is no `nn.Module`, so that a model which holds it has none of its parameters: they are in no optimizer, no
    checkpoint and no DDP bucket, and a deep copy of that model (`EMAHook`) shares it.

    Args:
        detector: The detector; its backbone and neck run.
        checkpoint: File or URL of its weights. `None` leaves them random, with a warning, `'random'` without one.
        options: Of `NeckForward`.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The checkpoint cannot be read, or is of another architecture.
    """

    def __init__(self, detector: BaseModel, checkpoint: str | None = None, **options: Any):
        self.detector = detector.eval().requires_grad_(False)
        self.neck_forward = NeckForward(self.detector, **options)
        self.normalisation = Normalisation.of(detector.data_preprocessor)
        self.divisor = size_divisor(self.detector)
        self.sha256: str | None = None
        """Of the checkpoint's file; `None` where there is none."""
        self.problems: list[str] = []
        """What of the head was not loaded."""
        if checkpoint is None:
            message = "the teacher has random weights: set `teacher_ckpt` to its checkpoint"
            print_log(f"{message}, or to 'random' where that is meant", "current", level=logging.WARNING)
        elif checkpoint != "random":
            self.sha256, self.problems = load_strictly(detector, checkpoint)

    def __deepcopy__(self, memo: dict) -> "Teacher":
        return self

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move the weights to where `nn.Module._apply` would, keeping their values and precision."""
        self.detector._apply(lambda tensor: tensor.to(change(tensor.new_empty(0)).device))
        self.neck_forward.reset()

    @torch.no_grad()
    def __call__(
        self, images: Tensor, samples: Sequence[BaseDataElement] | None, source: Normalisation
    ) -> tuple[Tensor, ...]:
        """Neck maps `(B, C, H / stride, W / stride)` of images `(B, 3, H, W)` that `source` normalised."""
        self.detector.eval()  # a validation loop may have changed it
        images = renormalise(images, samples, source, self.normalisation)
        padded = pad_to_multiple(images, self.divisor, self.normalisation.pad_value)
        return tuple(crop_to_image(m, images, padded) for m in self.neck_forward(padded))
