"""Backbone and neck of a frozen detector, made fast.

Shape shorthand: a batch of images is `(B, 3, H, W)`.
"""

import copy
import logging
from collections.abc import Callable, Sequence

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..sources import Record

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
PARTS = ("backbone", "neck")
"""What runs of the teacher; the rest of it is its head."""

FUSED = "batch norms fused"

PROBE_SIDE = 256
"""Of the piece of an image on which a change is tried, in pixels."""

TOLERANCE = 1e-4
"""Largest difference that a change may make, relative to the largest value of a map."""


class NeckForward:
    """Neck maps of a detector in eval mode; what makes them fast is done when the first images come.

    Until then its weights are those that were loaded, so that a student can inherit them.

    Args:
        detector: Its backbone and neck are changed by the first two, each where it leaves the maps as they are.
        fuse: Fold batch norms into the convolutions before them.
        channels_last: Keep weights, and so what is between them, with the channels innermost. Maps come back in the
            usual order.
        precision: `'bf16'` or `'fp16'`: of a copy of backbone and neck, which is what runs. `'fp32'` is autocast's
            precision in a training with `--amp`.
        compile: Run it by `torch.compile`.

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
        if precision not in PRECISIONS:
            raise ValueError(f"teacher_precision must be one of {list(PRECISIONS)}, got {precision!r}")
        self.detector = detector
        wanted = {FUSED: fuse and fuse_conv_bn, "channels last": channels_last and _channels_last}
        self.changes = {name: change for name, change in wanted.items() if change}
        self.dtype = PRECISIONS[precision]
        self.compile = compile
        self._extract: Callable[[Tensor], Sequence[Tensor]] | None = None
        self._backbone_hook: RemovableHandle | None = None
        self._backbone_maps: Sequence[Tensor] = ()

    def of(self, detector: BaseModel) -> "NeckForward":
        """The same of another detector."""
        other = copy.copy(self)
        other.detector = detector
        other.reset()
        return other

    def reset(self) -> None:
        """Start from the detector's weights again, as they are now."""
        self._extract = None

    @torch.no_grad()
    def __call__(self, images: Tensor, with_backbone: bool = False) -> Record:
        """Maps of normalised images, in float32 unless autocast decides.

        Args:
            images: Normalised images.
            with_backbone: Give the backbone's maps too. Decided by the first call.

        Returns:
            `neck`, and where it is asked for `backbone`: maps `(B, C, H / stride, W / stride)`.
        """
        if self._extract is None:
            self._extract = self._made_fast(images, with_backbone)
        if self.dtype is None:
            record = {"neck": self._extract(images)}
        else:
            with torch.autocast(images.device.type, enabled=False):
                record = {"neck": self._extract(images.to(self.dtype))}
        if with_backbone:
            record["backbone"], self._backbone_maps = self._backbone_maps, ()
        return {source: tuple(self._plain(m) for m in maps) for source, maps in record.items()}

    def _plain(self, feature_map: Tensor) -> Tensor:
        return (feature_map if self.dtype is None else feature_map.float()).contiguous()

    def _keep_backbone(self, module: nn.Module, inputs: tuple, maps: Sequence[Tensor]) -> None:
        self._backbone_maps = maps

    @property
    def has_fused(self) -> bool:
        """Whether the detector's weights may be others than those that were loaded."""
        return self._extract is not None and FUSED in self.changes

    def _made_fast(self, images: Tensor, with_backbone: bool) -> Callable[[Tensor], Sequence[Tensor]]:
        if self.changes:
            self._make_changes(images[:1])
        detector = self.detector if self.dtype is None else _copy(self.detector, self.dtype)
        if self._backbone_hook is not None:
            self._backbone_hook.remove()
        if with_backbone:
            self._backbone_hook = detector.backbone.register_forward_hook(self._keep_backbone)
        return torch.compile(detector.extract_feat) if self.compile else detector.extract_feat

    def _make_changes(self, image: Tensor) -> None:
        try:
            piece, maps = _probe(self.detector, image)
        except (RuntimeError, TypeError) as error:  # Apple's MPS has no float64, and says so by a TypeError
            print_log(f"the teacher runs as it is: in float64 it fails ({error})", "current", level=logging.WARNING)
            return
        for name, change in self.changes.items():
            maps = self._change(name, change, piece, maps)

    def _change(
        self, name: str, change: Callable[[nn.Module], nn.Module], image: Tensor, before: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Change backbone and neck, unless the maps would change: where a batch norm does not follow its convolution, a
        convolution makes its weights as it runs, or an operator (deformable convolution) wants the channels outermost.

        Returns:
            The exact maps of the detector as it then is.
        """
        parts = _parts(self.detector)
        try:
            for part, module in parts.items():
                setattr(self.detector, part, change(copy.deepcopy(module)).requires_grad_(False))
            after = _exact_maps(self.detector, image)
            problem = _difference(before, after)
        except RuntimeError as error:
            problem = f"it fails: {error}"
        if not problem:
            return after
        for part, module in parts.items():
            setattr(self.detector, part, module)
        print_log(f"the teacher runs without {name}, with which {problem}", "current", level=logging.WARNING)
        return before


def _copy(detector: BaseModel, dtype: torch.dtype) -> BaseModel:
    """The detector with a backbone and a neck of its own in another precision; the rest is shared."""
    other = copy.copy(detector)
    other._modules = dict(detector._modules)
    for part, module in _parts(detector).items():
        setattr(other, part, copy.deepcopy(module).to(dtype))
    return other


def _parts(detector: BaseModel) -> dict[str, nn.Module]:
    """Backbone and neck; a classifier may have no neck."""
    return {part: module for part in PARTS if (module := getattr(detector, part, None)) is not None}


def _probe(detector: BaseModel, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A piece of an image, or all of it where the detector wants more (SSD: 300 pixels), and its exact maps."""
    piece = image[:, :, :PROBE_SIDE, :PROBE_SIDE]
    try:
        return piece, _exact_maps(detector, piece)
    except RuntimeError:
        if piece.shape == image.shape:
            raise
    return image, _exact_maps(detector, image)


def _exact_maps(detector: BaseModel, images: Tensor) -> tuple[Tensor, ...]:
    """Maps in float64, which no autocast and no TF32 makes coarse."""
    with torch.autocast(images.device.type, enabled=False):
        return tuple(_copy(detector, torch.float64).extract_feat(images.double()))


def _channels_last(module: nn.Module) -> nn.Module:
    return module.to(memory_format=torch.channels_last)


def _difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> str | None:
    """What differs; `None` where nothing does by more than `TOLERANCE`."""
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        difference, largest = (one - other).abs().max().item(), one.abs().max().item()
        if not difference <= TOLERANCE * largest and torch.isfinite(one).all():
            return f"map {index} would differ by {difference:.1e}, and its largest value is {largest:.1e}"
    return None
