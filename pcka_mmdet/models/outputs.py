"""Nested outputs of a source (a map, a tuple of maps, a list of either), constants, and scalars that the host reads."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only

ADVICE = "Lower the learning rate, clip gradients (optim_wrapper.clip_grad), or train without --amp"
"""For losses that are not finite."""


def tensors(outputs: Any) -> Iterator[Tensor]:
    """All tensors of nested outputs."""
    return (leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, Tensor))


def box_tensor(boxes: Any) -> Tensor:
    """Boxes as a tensor `(R, 4)`, like MMDetection's `get_box_tensor`, but without MMDetection."""
    return getattr(boxes, "tensor", boxes)


def in_float32(outputs: Any) -> Any:
    """The outputs with floating-point tensors in float32 or wider."""
    return tree_map_only(Tensor, _widened, outputs)


def _widened(tensor: Tensor) -> Tensor:
    if tensor.dtype is torch.float32 or not tensor.is_floating_point():
        return tensor
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor of these values, uploaded once: a GPU would wait for it in each step."""
    with torch.inference_mode(False):  # an inference tensor could not be used in training later
        return torch.tensor(values, device=device, dtype=dtype)


def zero_of(parameters: Iterable[Tensor], like: Tensor) -> Tensor:
    """An exact zero in float32 or wider, with a zero gradient for each parameter, so that DDP counts all as used."""
    zero = like.new_zeros((), dtype=torch.promote_types(like.dtype, torch.float32))
    return sum((p.flatten()[:0].sum() for p in parameters if p.requires_grad), start=zero)


def output_size(outputs: Any, joint: bool = False) -> Any:
    """Height and width of an output (`()` for logits and queries). For a joint loss: a list, one per level."""
    if joint:
        return [output_size(output) for output in outputs]
    shape = next(tensors(outputs)).shape
    return tuple(shape[2:]) if len(shape) == 4 else ()


class HostCopy:
    """A scalar that the host reads later. Reading waits only for the device's work before this copy."""

    def __init__(self, value: Tensor):
        event = None if value.device.type == "cpu" else getattr(getattr(torch, value.device.type, None), "Event", None)
        self._event = event and event()
        self._value = value.detach().to("cpu", non_blocking=True) if self._event else value.detach()
        if self._event:
            self._event.record()

    def __deepcopy__(self, memo: dict) -> "HostCopy":
        """The same copy: `EMAHook` copies a model that holds one."""
        return self

    def read(self) -> float:
        if self._event:
            self._event.synchronize()
        return self._value.item()
