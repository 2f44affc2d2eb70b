"""ShuffleNets for images of 32x32 pixels."""

from typing import Any

import torch
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from .staged import StagedBackbone, conv_norm

STEM = 24
"""Channels of the first convolution."""


class Shuffle(nn.Module):
    """Mixes the channels of groups: channel i of group g becomes channel g of group i."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class GroupedBlock(nn.Module):
    """Grouped 1x1, depthwise and grouped 1x1 convolution (Zhang et al. 2018). With stride 2 the pooled input is joined
    to the result, in place of being added."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int):
        super().__init__()
        computed = outputs - (inputs if stride > 1 else 0)
        inner, first = computed // 4, 1 if inputs == STEM else groups
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else None
        self.layers = nn.Sequential(
            conv_norm(inputs, inner, size=1, groups=first),
            Shuffle(first),
            conv_norm(inner, inner, stride=stride, groups=inner),
            conv_norm(inner, computed, size=1, groups=groups, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        result = self.layers(x)
        return (result + x if self.pool is None else torch.cat([result, self.pool(x)], 1)).relu()


INITIAL = dict(init_cfg=None)
"""Torch's own initial weights, with which the usual CIFAR benchmark trains ShuffleNets."""


@MODELS.register_module()
class CifarShuffleNetV1(StagedBackbone):
    """ShuffleNetV1 of 3 groups.

    Args:
        options: `out_indices` and `init_cfg`; see `StagedBackbone`.
    """

    def __init__(self, **options: Any):
        groups, inputs, stages = 3, STEM, []
        for outputs, number in ((240, 4), (480, 8), (960, 4)):
            blocks = [GroupedBlock(inputs, outputs, 2, groups)]
            blocks += [GroupedBlock(outputs, outputs, 1, groups) for _ in range(number - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        super().__init__(conv_norm(3, STEM, size=1), stages, **(INITIAL | options))


class SplitBlock(nn.Module):
    """Half of the channels pass, half are convolved; then both are shuffled (Ma et al. 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = _branch(channels // 2, channels // 2, stride=1)
        self.shuffle = Shuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, convolved = x.chunk(2, dim=1)
        return self.shuffle(torch.cat([kept, self.layers(convolved)], 1))


class DownBlock(nn.Module):
    """Halves the map: both branches see all channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.left = nn.Sequential(
            conv_norm(inputs, inputs, stride=2, groups=inputs, relu=False), conv_norm(inputs, half, size=1)
        )
        self.right = _branch(inputs, half, stride=2)
        self.shuffle = Shuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(torch.cat([self.left(x), self.right(x)], 1))


def _branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv_norm(inputs, outputs, size=1),
        conv_norm(outputs, outputs, stride=stride, groups=outputs, relu=False),
        conv_norm(outputs, outputs, size=1),
    )


@MODELS.register_module()
class CifarShuffleNetV2(StagedBackbone):
    """ShuffleNetV2 of width 1.

    Args:
        options: `out_indices` and `init_cfg`; see `StagedBackbone`.
    """

    def __init__(self, **options: Any):
        inputs, stages = STEM, []
        for outputs, number in ((116, 3), (232, 7), (464, 3)):
            stages.append(nn.Sequential(DownBlock(inputs, outputs), *(SplitBlock(outputs) for _ in range(number))))
            inputs = outputs
        stages[-1].append(conv_norm(inputs, 1024, size=1))
        super().__init__(conv_norm(3, STEM, size=1), stages, **(INITIAL | options))
