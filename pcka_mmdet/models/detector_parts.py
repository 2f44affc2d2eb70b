"""Parts of MMDetection's detectors: dense head or RPN, stages of the RoI head, number of classes."""

from torch import nn

from .queries import has_queries


class UnreadableHead(ValueError):
    """The outputs of a detector's head cannot be compared.

    Args:
        problem: Why.
        other_advice: Is put after the advice to use a loss on the neck maps.
    """

    def __init__(self, problem: str, other_advice: str = ""):
        super().__init__(f"{problem}: use a loss on the neck maps, such as pcka_mmdet.PCKALoss{other_advice}")
        self.problem = problem


def dense_head(detector: nn.Module) -> nn.Module:
    """The dense head of a one-stage detector, or the RPN of a two-stage one.

    Raises:
        UnreadableHead: The detector has neither, or its head works on queries (DETR).
    """
    head = getattr(detector, "rpn_head", None) or getattr(detector, "bbox_head", None)
    name = type(detector).__name__
    if head is None:
        raise UnreadableHead(f"{name} has no dense head and no RPN")
    if has_queries(detector):
        raise UnreadableHead(
            f"the head of {name} works on queries, which have no levels to pair",
            ", or pcka_mmdet.PredictionLoss with source='decoder'",
        )
    return head


def stages(roi_head: nn.Module, part: str) -> list[nn.Module]:
    """A part of a RoI head by stage: a cascade has several."""
    module = getattr(roi_head, part)
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def box_head(detector: nn.Module) -> nn.Module | None:
    """The head of a detector's boxes: of two stages that of the RoI head's first stage; `None` without one."""
    roi_head = getattr(detector, "roi_head", None)
    return getattr(detector, "bbox_head", None) if roi_head is None else stages(roi_head, "bbox_head")[0]


def num_classes(detector: nn.Module) -> int | None:
    """Number of classes that a detector tells apart; `None` if its head does not say."""
    return getattr(box_head(detector), "num_classes", None)
