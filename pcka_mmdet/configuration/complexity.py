"""Parameters and multiply-adds of a detector."""

from collections.abc import Callable

import torch
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import padded_size


def complexity(model: dict, height: int, width: int) -> dict[str, int]:
    """Parameters and multiply-adds (`flops`) of a detector, as MMEngine's `get_model_complexity_info` counts them.

    Args:
        model: Model dict of a detector, or of a distillation, whose student is counted.
        height: Height of the padded input, in pixels.
        width: Width of the padded input, in pixels.
    """
    detector = build_detector(model.get("architecture", model)).eval()
    return {"parameters": parameter_count(detector)[""], "flops": multiply_adds(detector, height, width)}


def complexity_in_test(config: Config) -> dict[str, int]:
    """`complexity` for an image of the test pipeline; for 256x256 pixels where that has no `Resize`."""
    return complexity(config.model, *(padded_size(config, "test_dataloader") or (256, 256)))


def multiply_adds(
    detector: BaseModel, height: int, width: int, forward: Callable[[Tensor], tuple] | None = None
) -> int:
    """Multiply-adds per image, as MMEngine counts them.

    Args:
        detector: The detector.
        height: Height of the padded input, in pixels.
        width: Width of the padded input, in pixels.
        forward: What runs, from images `(1, 3, height, width)` to all outputs that count; `None` is a prediction
            without decoding.
    """
    shape = height, width
    sizes = dict(img_shape=shape, batch_input_shape=shape, pad_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    nothing = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))  # some heads read it
    sample = BaseDataElement(metainfo=sizes, gt_instances=nothing)
    forward = forward or (lambda images: detector(images, [sample], mode="tensor"))
    analyzer = FlopAnalyzer(_Forward(detector, forward), torch.zeros(1, 3, *shape))
    # pooling, losses: their cost is negligible
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return analyzer.total()


class _Forward(nn.Module):
    """A function of images that runs a detector."""

    def __init__(self, detector: BaseModel, function: Callable[[Tensor], tuple]):
        super().__init__()
        self.detector = detector
        self.function = function

    def forward(self, images: Tensor) -> tuple:
        return self.function(images)
