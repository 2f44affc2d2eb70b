"""The frozen teacher: loaded strictly, in eval mode always, fed in its own normalisation and padding.

Shape shorthand: a batch of images is `(B, 3, H, W)`.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from .checkpoint_file import listed, load_what_fits, read_weights
from .neck_forward import PARTS, NeckForward

COMMON_DIVISOR = 32
"""Of the sides of images that MMDetection's detectors are fed with, the stride of their backbones."""

ODD_SIDE = 328
"""Of a zero image that tells whether a neck takes any size: its maps are odd at stride 8 and below."""


@dataclass(frozen=True)
class Normalisation:
    """How a data preprocessor turns pixels (0 to 255) into input; mean and std are in the order of the input."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    swaps_channels: bool
    pad_value: float

    @classmethod
    def of(cls, preprocessor: nn.Module) -> "Normalisation":
        """Read off an MMEngine or MMDetection data preprocessor; one without mean and std leaves pixels as they are."""
        mean, std = (0.0,) * 3, (1.0,) * 3
        if getattr(preprocessor, "_enable_normalize", False):
            mean, std = (
                tuple(value.expand(3, 1, 1).flatten().tolist()) for value in (preprocessor.mean, preprocessor.std)
            )
        swaps = bool(getattr(preprocessor, "_channel_conversion", False))
        return cls(mean, std, swaps, float(getattr(preprocessor, "pad_value", 0)))


def renormalise(
    images: Tensor,
    samples: Sequence[BaseDataElement] | None,
    source: Normalisation,
    target: Normalisation,
) -> Tensor:
    """Turn images that `source` normalised into what `target` would have made of the same pixels.

    Args:
        images: Normalised, augmented and padded images `(B, 3, H, W)`.
        samples: Their data samples: `img_shape` tells the image from its padding, which becomes the target's.
        source: How the images were normalised.
        target: How the result is.

    Returns:
        Images of the same shape; `images` itself where both normalisations agree.
    """
    if source == target:
        return images
    mean, std, new_mean, new_std = (
        images.new_tensor(values).view(3, 1, 1) for values in (source.mean, source.std, target.mean, target.std)
    )
    if source.swaps_channels != target.swaps_channels:
        images, mean, std = images.flip(1), mean.flip(0), std.flip(0)
    images = images * (std / new_std) + (mean - new_mean) / new_std
    for image, sample in zip(images, samples or (), strict=False):
        height, width = sample.metainfo["img_shape"][:2]
        image[:, height:] = target.pad_value
        image[:, :, width:] = target.pad_value
    return images


@torch.no_grad()
def size_divisor(detector: BaseModel) -> int:
    """What the sides of a detector's images have to be multiples of: what its preprocessor says, or 32 where it says
    less and the neck joins maps that would not fit (PAFPN, of an RTMDet whose own pipeline pads)."""
    said = getattr(detector.data_preprocessor, "pad_size_divisor", 1)
    if said % COMMON_DIVISOR == 0:
        return said
    try:
        detector.extract_feat(next(detector.parameters()).new_zeros(1, 3, ODD_SIDE, ODD_SIDE))
    except RuntimeError:
        return COMMON_DIVISOR
    return said


def pad_to_multiple(images: Tensor, divisor: int, value: float) -> Tensor:
    """Pad images `(B, 3, H, W)` at the right and bottom, until their sides are multiples of `divisor`."""
    height, width = images.shape[2:]
    padding = (0, -width % divisor, 0, -height % divisor)
    return F.pad(images, padding, value=value) if any(padding) else images  # F.pad copies whatever it is asked for


def crop_to_image(feature_map: Tensor, image: Tensor, padded: Tensor) -> Tensor:
    """The part of a map of padded images that the images take, `(B, C, ceil(H / stride), ceil(W / stride))`."""
    height, width = (
        math.ceil(side * positions / whole)
        for side, positions, whole in zip(image.shape[2:], feature_map.shape[2:], padded.shape[2:], strict=True)
    )
    return feature_map[:, :, :height, :width]


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


def load_strictly(detector: BaseModel, checkpoint: str) -> tuple[str | None, list[str]]:
    """Load a detector's weights; every key of backbone and neck must be there.

    Where keys of the head differ they are not loaded: this is logged, and running the head is an error.

    Args:
        detector: The detector to load into.
        checkpoint: File or URL of an MMDetection checkpoint.

    Returns:
        The sha256 of the file, and what differs in the head.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, or keys of backbone or neck are missing, unexpected or of another shape.
    """
    weights, sha256 = read_weights(checkpoint)
    loaded, problems = load_what_fits(detector, weights)
    distilled = [p for p in problems if any(f"{part}." in p for part in PARTS)]
    name = type(detector).__name__
    if distilled:
        raise ValueError(
            f"teacher_ckpt {checkpoint!r} is of another architecture than the teacher's config, a {name}: "
            f"{listed(distilled)}. Give the checkpoint that belongs to the teacher's config"
        )
    if problems:
        print_log(
            f"the teacher's head differs from {checkpoint!r}: {listed(problems)}", "current", level=logging.WARNING
        )
        _refuse_to_run_heads(
            detector, f"the head of the teacher was not loaded from {checkpoint!r}: {listed(problems)}"
        )
    print_log(f"teacher: {name}, {len(loaded)} arrays loaded from {checkpoint!r} (sha256 {sha256})", "current")
    return sha256, problems


def _refuse_to_run_heads(detector: nn.Module, message: str) -> None:
    def refuse(module: nn.Module, inputs: tuple) -> None:
        raise RuntimeError(message)

    for part, child in detector.named_children():
        if part not in (*PARTS, "data_preprocessor"):
            for module in child.modules():
                module.register_forward_pre_hook(refuse)
