"""The student's images in the teacher's normalisation and padding.

Shape shorthand: a batch of images is `(B, 3, H, W)`, or of a classifier's grey images `(B, 1, H, W)`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..attempts import tried
from ..outputs import constant

COMMON_DIVISOR = 32
"""The stride of most backbones."""

ODD_SIDE = 328
"""Side of a test image whose maps have odd sides, which necks that join maps (PAFPN) cannot take."""

SIDES = {32: 352, 64: 320, 128: 384}
"""Side of a test image by divisor: an odd multiple."""


@dataclass(frozen=True)
class Normalisation:
    """Normalisation of pixels (0 to 255). Mean and std have a number for each output channel, or one for all."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    swaps_channels: bool
    pad_value: float
    pads: bool = field(default=True, compare=False)
    """Whether it pads images. A classifier's images have one size; the size in MMPretrain's data samples may differ."""

    @classmethod
    def of(cls, preprocessor: nn.Module) -> "Normalisation":
        """The normalisation of a data preprocessor; the identity without mean and std."""
        mean, std = (0.0,), (1.0,)
        if getattr(preprocessor, "_enable_normalize", False):
            mean, std = (tuple(value.flatten().tolist()) for value in (preprocessor.mean, preprocessor.std))
        # `to_rgb` is MMPretrain's name
        swaps = bool(getattr(preprocessor, "_channel_conversion", getattr(preprocessor, "to_rgb", False)))
        return cls(mean, std, swaps, float(getattr(preprocessor, "pad_value", 0)), not of_classifier(preprocessor))


def of_classifier(preprocessor: nn.Module) -> bool:
    """Whether a data preprocessor is MMPretrain's, which may not be installed."""
    return type(preprocessor).__name__ == "ClsDataPreprocessor"


def renormalise(
    images: Tensor, samples: Sequence[BaseDataElement] | None, source: Normalisation, target: Normalisation
) -> Tensor:
    """Convert padded images `(B, 3, H, W)` from one normalisation to another; returns `images` where both are equal.

    The area outside of a data sample's `img_shape` gets the target's `pad_value`, if the source pads.

    Raises:
        ValueError: A data sample has no `img_shape`.
    """
    if source == target:
        return images
    mean, std, new_mean, new_std = (
        constant(values, images.device, images.dtype).view(-1, 1, 1)
        for values in (source.mean, source.std, target.mean, target.std)
    )
    if source.swaps_channels != target.swaps_channels:
        images, mean, std = images.flip(1), mean.flip(0), std.flip(0)
    images = images * (std / new_std) + (mean - new_mean) / new_std
    for image, sample in zip(images, samples if samples and source.pads else (), strict=False):
        shape = getattr(sample, "img_shape", None)
        if shape is None:
            raise ValueError(
                f"a data sample has no 'img_shape', by which the teacher tells the image from its padding; it has "
                f"{sample.metainfo_keys()}: add 'img_shape' to the meta_keys of PackDetInputs in the training pipeline"
            )
        height, width = shape[:2]
        if height < images.shape[2]:
            image[:, height:].fill_(target.pad_value)
        if width < images.shape[3]:
            image[:, :, width:].fill_(target.pad_value)
    return images


@torch.no_grad()
def size_divisor(detector: BaseModel) -> int:
    """The divisor of the image sides that a detector needs, or 1 for a classifier.

    It is the preprocessor's `pad_size_divisor` if that is a multiple of 32 or the neck takes odd maps. Else it is the
    first of `SIDES` that runs, or 32: RTMDet pads its images in the pipeline, and its PAFPN joins maps.
    """
    given = getattr(detector.data_preprocessor, "pad_size_divisor", 1)
    if given % COMMON_DIVISOR == 0 or of_classifier(detector.data_preprocessor):
        return given
    like, training = next(detector.parameters()), detector.training
    detector.eval()  # no batch norm learns from zeros
    try:
        for divisor, side in {given: ODD_SIDE, **SIDES}.items():
            image = like.new_zeros(1, 3, side, side)
            if tried(partial(detector.extract_feat, image), RuntimeError, AssertionError)[1] is None:
                return divisor
        return COMMON_DIVISOR
    finally:
        detector.train(training)


def image_sizes(
    samples: Sequence[BaseDataElement] | None, images: int, padded: tuple[int, int]
) -> list[tuple[int, int]]:
    """Height and width of each image in pixels: without padding where its data sample has them, else the `padded`."""
    if samples is None:
        return [padded] * images
    return [tuple(sample.metainfo.get("img_shape", padded)[:2]) for sample in samples]


def pad_to_multiple(images: Tensor, divisor: int, value: float) -> Tensor:
    """Pad images `(B, 3, H, W)` at the right and bottom so that their sides are multiples of `divisor`."""
    height, width = images.shape[2:]
    padding = (0, -width % divisor, 0, -height % divisor)
    return F.pad(images, padding, value=value) if any(padding) else images  # F.pad copies even without padding


def crop_to_image(feature_map: Tensor, image: Tensor, padded: Tensor) -> Tensor:
    """Crop a map of padded images to the images, `(B, C, ceil(H / stride), ceil(W / stride))`; vectors are returned."""
    if feature_map.dim() != 4:
        return feature_map
    height, width = (
        math.ceil(side * positions / whole)
        for side, positions, whole in zip(image.shape[2:], feature_map.shape[2:], padded.shape[2:], strict=True)
    )
    return feature_map[:, :, :height, :width]
