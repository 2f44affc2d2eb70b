"""The queries of a DETR: run its decoder and head on other queries.

Shape shorthand: B images, N queries, L layers of the decoder, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .outputs import constant
from .training_state import step_generator

Queries = Mapping[str, Tensor]
"""Inputs of a decoder that belong to its queries, of `QUERY_INPUTS`: `(B, N, D)` each."""

QUERY_INPUTS = ("query", "query_pos", "reference_points")

_MEMORY_INPUTS = dict(value="memory", key="memory", key_padding_mask="memory_mask", key_pos="memory_pos")
"""Names of a decoder's other inputs in the detector's `forward_decoder`."""

_OWN_INPUTS = ("self_attn_mask", "reg_branches")
"""Inputs that `forward_decoder` sets: other queries are in no denoising group."""


class QueryOutputs(NamedTuple):
    """Outputs of a head after one layer of the decoder.

    `logits` `(B, N, C)`: of classes; `boxes` `(B, N, 4)`: centre, width and height in shares of the image.
    """

    logits: Tensor
    boxes: Tensor


def has_queries(detector: nn.Module) -> bool:
    """Whether a detector has an encoder and a decoder of queries, as DETR's family."""
    return all(getattr(detector, part, None) is not None for part in ("encoder", "decoder"))


def problem_of_decoder(detector: nn.Module, side: str, learns: bool = False) -> str | None:
    """Why the outputs of a DETR's queries are not known; `None` if they are. `side` is `student` or `teacher`.

    `learns`: its own queries are to be told from others, or other queries are to be decoded.
    """
    kind = type(detector).__name__
    if getattr(detector, "language_model", None) is not None:
        return f"the {side}, a {kind}, scores words of a text"
    if learns and hasattr(detector, "cache_dict"):
        return f"the {side}, a {kind}, keeps what it knows of its queries between encoder and head"
    if not detector.bbox_head.loss_cls.use_sigmoid:
        return f"the {side}, a {kind}, scores classes by a softmax"
    return None


class DecoderInputs:
    """The inputs of the decoder of a detector of DETR's family in its last forward."""

    def __init__(self, detector: nn.Module):
        self.detector = detector
        self.inputs: dict[str, Any] | None = None
        """By name; `None` before a forward, and where they are not to be kept."""
        self.keeps = False
        """Whether the next forward is kept."""
        detector.decoder.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, module: nn.Module, arguments: tuple, inputs: dict[str, Any]) -> None:
        if self.keeps:
            self.inputs, self.keeps = inputs, False

    def forget(self) -> None:
        """Free what was kept."""
        self.inputs, self.keeps = None, False

    @property
    def memory(self) -> Tensor:
        """The encoder's output `(B, P, D)`, at the positions of all levels."""
        return self.inputs["value" if "value" in self.inputs else "key"]

    @property
    def queries(self) -> Queries:
        """The detector's own queries."""
        return {name: self.inputs[name] for name in QUERY_INPUTS if name in self.inputs}

    def decode(self, queries: Queries) -> tuple[Tensor, Tensor]:
        """Class logits `(L, B, N, C)` and boxes `(L, B, N, 4)` of other queries in the same images.

        This equals queries beside the detector's own that an attention mask separates from them.
        """
        rest = {_MEMORY_INPUTS.get(name, name): value for name, value in self.inputs.items() if name not in _OWN_INPUTS}
        return self.detector.bbox_head.forward(**self.detector.forward_decoder(**{**rest, **queries}))


def by_layer(logits: Tensor, boxes: Tensor) -> list[QueryOutputs]:
    """The outputs of each layer."""
    return [QueryOutputs(*of_layer) for of_layer in zip(logits, boxes, strict=True)]


def in_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Corners `(..., 4)` in pixels of boxes `(..., 4)` of `QueryOutputs`, in an image of that height and width."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    height, width = size
    return torch.cat([centre - half, centre + half], -1) * constant((width, height) * 2, boxes.device, boxes.dtype)


def general_queries(queries: Queries, number: int) -> Queries:
    """Queries at random places that no detector has chosen: boxes, or points, uniform in the image, with the content of
    random ones of the given queries (KD-DETR, arXiv:2211.08071, "general distillation points"). See `step_generator`.
    """
    like = next(iter(queries.values()))
    source = step_generator(like.device)
    chosen = torch.randint(like.shape[1], (number,), generator=source, device=like.device)
    drawn = {name: value[:, chosen] for name, value in queries.items()}

    def uniform(places: Tensor) -> Tensor:
        return torch.rand(places.shape, generator=source, device=places.device, dtype=places.dtype)

    if "reference_points" in drawn:
        drawn["reference_points"] = uniform(drawn["reference_points"])
    elif drawn["query_pos"].shape[-1] == 4:  # DAB-DETR's boxes, before the sigmoid
        drawn["query_pos"] = torch.special.logit(uniform(drawn["query_pos"]), eps=1e-3)
    return drawn


def maps_of_memory(memory: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """The encoder's output `(B, P, D)` as maps `(B, D, H, W)`, of the sizes of the neck's."""
    sizes = [tuple(level.shape[2:]) for level in maps]
    parts = memory.split([height * width for height, width in sizes], dim=1)
    return [part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]
