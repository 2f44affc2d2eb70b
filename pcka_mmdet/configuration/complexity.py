"""Parameters and multiply-adds of a detector."""

from collections.abc import Callable

import torch
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from .detector import build_detector
from .pipeline_size import padded_size


def complexity(model: dict, height: int, width: int) -> dict[str, int]:
    """Parameters and multiply-adds (`flops`), as MMEngine counts them, of a detector or a distillation's student."""
    detector = build_detector(model.get("architecture", model)).eval()
    return {"parameters": parameter_count(detector)[""], "flops": multiply_adds(detector, height, width)}


def complexity_in_test(config: Config) -> dict[str, int]:
    """`complexity` for an image of the test pipeline, or of 256x256 pixels without a `Resize` in it."""
    return complexity(config.model, *(padded_size(config, "test_dataloader") or (256, 256)))


def multiply_adds(
    detector: BaseModel, height: int, width: int, forward: Callable[[Tensor], tuple] | None = None
) -> int:
    """Multiply-adds per padded image, as MMEngine counts them.

    `forward` takes images `(1, 3, height, width)` to all outputs that count. `None` is a prediction without decoding.
    """
    shape = height, width
    sizes = dict(img_shape=shape, batch_input_shape=shape, pad_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    no_objects = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))  # some heads read them
    sample = BaseDataElement(metainfo=sizes, gt_instances=no_objects)

    class Forward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, images: Tensor) -> tuple:
            return forward(images) if forward else detector(images, [sample], mode="tensor")

    analyzer = FlopAnalyzer(Forward(), torch.zeros(1, 3, *shape))
    # pooling, losses: their cost is negligible
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return analyzer.total()
