"""Residual networks for images of 32x32 pixels."""

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from .staged import StagedBackbone, conv, conv_norm


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut, which is projected where stride or width change (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.residual = nn.Sequential(
            conv_norm(inputs, outputs, stride=stride), conv_norm(outputs, outputs, relu=False)
        )
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = conv_norm(inputs, outputs, size=1, stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual(x) + self.shortcut(x)).relu()


@MODELS.register_module()
class CifarResNet(StagedBackbone):
    """ResNet of three stages of basic blocks. ResNet20 is `depth=20`, ResNet8x4 `depth=8, widths=(32, 64, 128, 256)`.

    Args:
        depth: Number of layers, 6 n + 2.
        widths: Channels of the stem and of the stages.
        options: `out_indices` and `init_cfg`; see `StagedBackbone`.

    Raises:
        ValueError: The depth is not 6 n + 2.
    """

    def __init__(self, depth: int, widths: Sequence[int] = (16, 16, 32, 64), **options: Any):
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"CifarResNet: depth is 6 n + 2, such as 8, 20 or 110; got {depth}")
        super().__init__(conv_norm(3, widths[0]), _stages(BasicBlock, widths, depth // 6), **options)


class PreActivationBlock(nn.Module):
    """Norm and ReLU before each of two convolutions; where the width changes, before the shortcut too."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.residual = nn.Sequential(conv_norm(inputs, outputs, stride=stride), conv(outputs, outputs))
        self.projection = conv(inputs, outputs, size=1, stride=stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.norm(x)
        return self.residual(active) + (x if self.projection is None else self.projection(active))


@MODELS.register_module()
class CifarWideResNet(StagedBackbone):
    """Wide residual network (Zagoruyko and Komodakis 2016). WRN-40-2 is `depth=40, factor=2`.

    Args:
        depth: Number of layers, 6 n + 4.
        factor: Factor of the widths 16, 32 and 64.
        options: `out_indices` and `init_cfg`; see `StagedBackbone`.

    Raises:
        ValueError: The depth is not 6 n + 4.
    """

    def __init__(self, depth: int, factor: int, **options: Any):
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"CifarWideResNet: depth is 6 n + 4, such as 16 or 40; got {depth}")
        widths = (16, 16 * factor, 32 * factor, 64 * factor)
        stages = _stages(PreActivationBlock, widths, depth // 6)
        stages[-1].append(nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)))
        super().__init__(conv(3, widths[0]), stages, **options)


def _stages(block: type[nn.Module], widths: Sequence[int], blocks: int) -> list[nn.Sequential]:
    """Stages of equal numbers of blocks; each but the first halves the map."""
    stages = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        first = block(inputs, outputs, stride=2 if index else 1)
        stages.append(nn.Sequential(first, *(block(outputs, outputs, stride=1) for _ in range(blocks - 1))))
    return stages
