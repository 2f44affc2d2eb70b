"""How the raw outputs of dense heads are compared.

Shape shorthand: B images, A anchors (or 1 point) per position, C classes, K values of a box code, H x W positions. A
head gives class logits `(B, A C, H, W)`, box codes `(B, A K, H, W)` and, in some heads, logits of box quality
`(B, A, H, W)`.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

BoxDifference = Callable[[Tensor, Tensor, int], Tensor]
"""Takes the student's and the teacher's codes `(B, A, K, H, W)` and the stride, returns `(B, A, H, W)`."""


def delta_difference(student: Tensor, teacher: Tensor, stride: int) -> Tensor:
    """L1 of anchor deltas, which are relative to the anchor's size."""
    return (student - teacher).abs().sum(2)


def distance_difference(student: Tensor, teacher: Tensor, stride: int) -> Tensor:
    """L1 of the distances to the four sides, converted from pixels to units of the stride."""
    return (student - teacher).abs().sum(2) / stride


def distribution_difference(student: Tensor, teacher: Tensor, stride: int) -> Tensor:
    """KL divergence of the distributions of the four distances (Zheng et al. 2022, "Localization Distillation")."""
    log_own, log_other = (codes.unflatten(2, (4, -1)).log_softmax(3) for codes in (student, teacher))
    return F.kl_div(log_own, log_other, reduction="none", log_target=True).sum((2, 3))


BOX_DIFFERENCES: dict[str, BoxDifference] = {
    "GFLHead": distribution_difference,
    "FCOSHead": distance_difference,
    "RetinaHead": delta_difference,
    "ATSSHead": delta_difference,
    "RPNHead": delta_difference,
}
"""By class name of the head, or else of its nearest base class in this dict."""

OTHER_CODES = ("RTMDetHead", "RepPointsHead", "YOLOXHead")
"""Subclasses of these heads that code boxes in another way."""


def box_difference(head: nn.Module) -> BoxDifference:
    """How the boxes of a head are compared.

    Raises:
        ValueError: The head is of a kind that is not known, or its classes are not scored by a sigmoid.
    """
    name = type(head).__name__
    kinds = [kind.__name__ for kind in type(head).__mro__ if kind.__name__ in (*BOX_DIFFERENCES, *OTHER_CODES)]
    if not kinds or kinds[0] in OTHER_CODES:
        raise ValueError(
            f"HeadLoss does not know the outputs of {name}; it knows {list(BOX_DIFFERENCES)} and what is derived from "
            "them. Use a loss on the neck maps, such as pcka_mmdet.PCKALoss"
        )
    if not getattr(head, "use_sigmoid_cls", True):
        raise ValueError(
            f"HeadLoss needs class scores by a sigmoid, and this {name} has a softmax: use a loss on the neck maps"
        )
    return BOX_DIFFERENCES[kinds[0]]


def by_anchor(outputs: Tensor, anchors: int) -> Tensor:
    """`(B, A K, H, W)` as `(B, A, K, H, W)`."""
    return outputs.unflatten(1, (anchors, -1))
