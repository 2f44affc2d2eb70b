"""What a detector costs: parameters and multiply-adds."""

import torch
from mmengine.analysis import FlopAnalyzer, parameter_count

from pcka_mmdet.models.detector_config import build_detector


def complexity(model: dict, height: int, width: int) -> dict[str, int]:
    """Parameters and multiply-adds (`flops`) of a detector, as MMEngine's `get_model_complexity_info` counts them.

    Args:
        model: Model dict of a dense detector, or of a distillation, whose student is meant.
        height: Of the padded input, in pixels.
        width: Likewise.
    """
    detector = build_detector(model.get("architecture", model)).eval()
    analyzer = FlopAnalyzer(detector, torch.zeros(1, 3, height, width))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)  # pooling, losses: nothing of weight
    return {"parameters": parameter_count(detector)[""], "flops": analyzer.total()}
