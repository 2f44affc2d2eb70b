"""Heads that code boxes as deltas of anchors, by their `bbox_coder`."""

from collections.abc import Sequence

from torch import Tensor

from . import boxes
from .reader import HeadReader, reads, rows


@reads("RetinaHead", "RetinaSepBNHead", "RPNHead")
class AnchorReader(HeadReader):
    """Relative boxes are in units of the anchor's sides: GIoU does not depend on the anchor."""

    def relative_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Corners `(B, A, 4, H, W)` relative to the anchor, in units of its sides."""
        return boxes.decode(self.head.bbox_coder, codes.movedim(2, -1)).movedim(-1, 2)

    def decode(self, outputs: Sequence[Tensor], level: int) -> Tensor:
        """Boxes `(B, N, 4)` in pixels; see `HeadReader.decode`."""
        codes = rows(self.box_codes(outputs))
        return boxes.decode(self.head.bbox_coder, codes, self.places(level, outputs[0].shape[2:], codes))

    def code(self) -> str:
        """Boxes of equal anchors compare, whatever the coders' means and deviations."""
        return "deltas"


@reads("ATSSHead", refuses=("ATSSVLFusionHead", "TOODHead", "VFNetHead"))
class ATSSReader(AnchorReader):
    """ATSS, which scores centerness too."""

    quality = "centerness"


@reads("PAAHead")
class PAAReader(AnchorReader):
    """PAA, which scores a box's overlap with the object in the place of ATSS's centerness."""

    quality = "overlap"
