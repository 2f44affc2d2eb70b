"""The base class of backbones that run stage by stage."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

KAIMING = dict(type="Kaiming", layer="Conv2d")
"""Normal weights of variance 2 / (outputs x height x width), as the usual CIFAR benchmark starts from."""


class StagedBackbone(BaseModule):
    """A stem and stages, one after another.

    Args:
        stem: What runs first.
        stages: The stages. The output of the last one is what a classifier's head reads.
        out_indices: Stages whose maps are given; -1 is the last.
        init_cfg: See `mmengine.model.BaseModule`; `None` keeps torch's own initial weights.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        out_indices: Sequence[int] = (-1,),
        init_cfg: dict | list[dict] | None = KAIMING,
    ):
        super().__init__(init_cfg)
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.out_indices = [index % len(stages) for index in out_indices]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps `(B, C, H, W)` of the stages in `out_indices`."""
        outputs, x = [], self.stem(images)
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs[index] for index in self.out_indices)


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the map's size, up to its stride."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


def conv_norm(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """A convolution, a batch norm and, unless it is left out, a ReLU."""
    parts = [conv(inputs, outputs, size, stride, groups), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if relu else []))
