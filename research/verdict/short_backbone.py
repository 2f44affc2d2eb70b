"""MobileNetV2 without the stages that nobody reads."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.backbones import MobileNetV2
from mmdet.registry import MODELS


@MODELS.register_module()
class ShortMobileNetV2(MobileNetV2):
    """A MobileNetV2 that ends with the last stage of `out_indices`; MMDetection's computes all of them."""

    def __init__(self, out_indices: Sequence[int], **options: Any):
        super().__init__(out_indices=out_indices, **options)
        count = max(out_indices) + 1
        for name in self.layers[count:]:
            delattr(self, name)
        self.layers = self.layers[:count]
