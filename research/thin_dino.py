"""A DINO of fewer channels. MMDetection's has 256: its place encoding has a fixed width."""

from mmdet.models.detectors import DINO
from mmdet.models.layers.transformer import MLP
from mmdet.registry import MODELS

PLACE_CHANNELS = 512
"""Width of `coordinate_to_encoding` for a box."""


@MODELS.register_module()
class ThinDINO(DINO):
    """A DINO whose decoder maps the place encoding to any number of channels."""

    def _init_layers(self) -> None:
        super()._init_layers()
        self.decoder.ref_point_head = MLP(PLACE_CHANNELS, self.embed_dims, self.embed_dims, 2)
