"""The maps of a frozen detector's neck and backbone."""

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..sources import Record, SourceRecorder, listed
from .optimisation import CHANNELS_LAST, FUSED, change_parts, dtype_on, in_precision


class NeckForward:
    """Maps of a detector's neck, or of its backbone, in eval mode.

    The first call optimises backbone and neck, so that a student can inherit the loaded weights before.

    Args:
        detector: The detector. `fuse` and `channels_last` change its backbone and neck in place.
        fuse: Fold batch norms into the convolutions before them.
        channels_last: Run in the channels-last memory format. The returned maps are contiguous.
        precision: `'bf16'` or `'fp16'` run a copy of backbone and neck in that precision. With `'fp32'` autocast
            decides, in a training with `--amp`. `'auto'` chooses by the processor; see `dtype_on`.
        compile: Compile backbone and neck by `torch.compile`.

    Raises:
        ValueError: `precision` is unknown.
    """

    def __init__(
        self,
        detector: BaseModel,
        fuse: bool = True,
        channels_last: bool = True,
        precision: str = "fp32",
        compile: bool = False,
    ):
        dtype_on(torch.device("cpu"), precision)  # an unknown one fails here
        self.detector = detector
        self.changes = [name for name, wanted in ((FUSED, fuse), (CHANNELS_LAST, channels_last)) if wanted]
        self.precision = precision
        self.dtype: torch.dtype | None = None
        """Type that backbone and neck compute in; see `dtype_on`."""
        self.compile = compile
        self.has_fused = False
        """Whether the detector's weights may differ from the loaded ones."""
        self.optimised: BaseModel | None = None
        """The detector that runs; `None` makes the next call optimise again, for weights that have changed or moved."""
        self._recorder: SourceRecorder | None = None  # of the backbone
        self._forwards: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {}  # by the part that ends it

    @torch.no_grad()
    def __call__(self, images: Tensor, wanted: Collection[str] = ("neck",)) -> Record:
        """Maps `(B, C, H / stride, W / stride)` of neck, backbone or both, in float32 unless autocast decides."""
        if self.optimised is None:
            self._optimise(images[:1])
        last = "neck" if "neck" in wanted else "backbone"
        recording = self._recorder.recording() if len(wanted) > 1 else nullcontext({})
        autocast = nullcontext() if self.dtype is None else torch.autocast(images.device.type, enabled=False)
        with recording as record, autocast:
            record[last] = listed(self._forwards[last](images if self.dtype is None else images.to(self.dtype)))
        return {part: tuple(self._plain(m) for m in record[part]) for part in wanted}

    def _plain(self, feature_map: Tensor) -> Tensor:
        return (feature_map if self.dtype is None else feature_map.float()).contiguous()

    def _optimise(self, image: Tensor) -> None:
        if self.changes:
            self.has_fused = self.has_fused or FUSED in self.changes
            change_parts(self.detector, self.changes, image)
        self.optimised, self.dtype = in_precision(self.detector, self.precision, image)
        self._recorder = SourceRecorder(self.optimised, ["backbone"])
        forwards = dict(neck=self.optimised.extract_feat, backbone=self.optimised.backbone)
        self._forwards = {part: torch.compile(f) if self.compile else f for part, f in forwards.items()}
