"""MobileNets: the second for images of 32x32 pixels, the first for ImageNet."""

from typing import Any

from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from .staged import StagedBackbone, conv_norm

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, number and stride of the inverted residuals of a stage."""
LAST_CHANNELS = 1280


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        super().__init__()
        inner = inputs * expansion
        self.layers = nn.Sequential(
            conv_norm(inputs, inner, size=1),
            conv_norm(inner, inner, stride=stride, groups=inner),
            conv_norm(inner, outputs, size=1, relu=False),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


@MODELS.register_module()
class CifarMobileNetV2(StagedBackbone):
    """MobileNetV2 whose first stages keep the map's size. The benchmark's is `width=0.5`.

    Args:
        width: Factor of all channels but the last 1280.
        options: `out_indices` and `init_cfg`; see `StagedBackbone`.
    """

    def __init__(self, width: float = 0.5, **options: Any):
        inputs, stages = int(32 * width), []
        stem = conv_norm(3, inputs, stride=2)
        for expansion, channels, number, stride in BLOCKS:
            outputs, stage = int(channels * width), nn.Sequential()
            for index in range(number):
                stage.append(InvertedResidual(inputs, outputs, 1 if index else stride, expansion))
                inputs = outputs
            stages.append(stage)
        stages[-1].append(conv_norm(inputs, LAST_CHANNELS, size=1))
        super().__init__(stem, stages, **options)


SEPARABLE = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))
"""Channels of MobileNetV1's separable convolutions by stage; each stage but the first halves the map."""


@MODELS.register_module()
class MobileNetV1(StagedBackbone):
    """MobileNetV1 (Howard et al. 2017), for images of 224x224 pixels.

    Args:
        options: `out_indices` and `init_cfg`; see `StagedBackbone`.
    """

    def __init__(self, **options: Any):
        inputs, stages = 32, []
        for number, widths in enumerate(SEPARABLE):
            stage = nn.Sequential()
            for index, outputs in enumerate(widths):
                stride = 2 if number and not index else 1
                stage.append(conv_norm(inputs, inputs, stride=stride, groups=inputs))
                stage.append(conv_norm(inputs, outputs, size=1))
                inputs = outputs
            stages.append(stage)
        super().__init__(conv_norm(3, 32, stride=2), stages, **options)
