"""VGG for images of 32x32 pixels."""

from typing import Any

from torch import nn

from pcka_mmdet.registry import MODELS

from .staged import StagedBackbone

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {8: 1, 13: 2}
"""Convolutions of a stage, by depth."""


@MODELS.register_module()
class CifarVGG(StagedBackbone):
    """VGG8 or VGG13 with batch norms (Simonyan and Zisserman 2015). Three poolings leave maps of 4x4.

    Args:
        depth: 8 or 13.
        options: `out_indices` and `init_cfg`; see `StagedBackbone`.

    Raises:
        ValueError: Another depth.
    """

    def __init__(self, depth: int, **options: Any):
        if depth not in CONVOLUTIONS:
            raise ValueError(f"CifarVGG: depth is one of {list(CONVOLUTIONS)}, got {depth}")
        stages, inputs = [], 3
        for index, outputs in enumerate(WIDTHS):
            stage = nn.Sequential(*([nn.MaxPool2d(2)] if 0 < index < 4 else []))
            for _ in range(CONVOLUTIONS[depth]):
                layers = nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
                stage.extend(layers)
                inputs = outputs
            stages.append(stage)
        super().__init__(nn.Identity(), stages, **options)
