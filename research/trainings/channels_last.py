"""A student whose weights have the layout that convolutions on the CPU are fastest in."""

from functools import partial

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Gives a model's weights the layout `(out, height, width, in)`, which its maps then have too.

    A step takes 13 to 31 % less time, that of the smallest student 7 % more. Sums are rounded in another order.

    In this layout, oneDNN 3.12 (torch 2.13) writes past its memory when it computes the gradient of the weight of a
    1x1 convolution with a stride and fewer than 16 input channels: such trainings end with `munmap_chunk(): invalid
    pointer` or a segmentation fault. Each 1x1 convolution with a stride therefore reads every `stride`-th position
    of its input, and then has a stride of 1. Its output and its weights are the same.
    """

    def before_train(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)
        for module in runner.model.modules():
            if (
                isinstance(module, nn.Conv2d)
                and module.kernel_size == (1, 1)
                and module.padding == (0, 0)
                and module.stride != (1, 1)
            ):
                module.register_forward_pre_hook(partial(_subsampled, stride=module.stride))
                module.stride = (1, 1)


def _subsampled(module: nn.Module, inputs: tuple[Tensor], stride: tuple[int, int]) -> tuple[Tensor]:
    """Every `stride`-th row and column of a convolution's input `(N, C, H, W)`."""
    (images,) = inputs
    down, right = stride
    return (images[:, :, ::down, ::right],)
