"""A frozen detector's backbone and neck, optimised for inference.

Shape shorthand: a batch of images is `(B, 3, H, W)`.
"""

import copy
import logging
from collections.abc import Callable, Collection, Sequence

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..sources import Record, listed
from ..training_state import OutOfMemoryError, first_process_decides
from .precision import check_precision, dtype_on

PARTS = ("backbone", "neck")
"""The parts that give maps; all other parts are heads."""

FUSED = "batch norms fused"

PROBE_SIDE = 256
"""Side in pixels of the image crop that each optimisation is tried on."""

TOLERANCE = 1e-4
"""Largest difference that an optimisation may make, relative to the largest value of a map."""


class NeckForward:
    """Maps of a detector's neck, or of its backbone, in eval mode.

    The first call optimises backbone and neck. Until then their weights are the loaded ones, so that a student can
    inherit them. An optimisation that would change the maps is undone. The first process tries them for all.

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
        check_precision(precision)
        self.detector = detector
        wanted = {FUSED: fuse and fuse_conv_bn, "channels last": channels_last and _channels_last}
        self.changes = {name: change for name, change in wanted.items() if change}
        self.precision = precision
        self.dtype: torch.dtype | None = None
        """In what backbone and neck compute; the first call decides. `None`: float32, unless autocast decides."""
        self.compile = compile
        self.has_fused = False
        """Whether the detector's weights may differ from the loaded ones."""
        self._optimised: BaseModel | None = None
        """What runs; `None` until the next call."""
        self._runs: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {}
        """What gives the maps of a part."""
        self._backbone_hook: RemovableHandle | None = None
        self._backbone_maps: Sequence[Tensor] = ()

    def of(self, detector: BaseModel) -> "NeckForward":
        """A copy for another detector, which its first call optimises."""
        other = copy.copy(self)
        other.detector, other._backbone_hook, other._backbone_maps = detector, None, ()
        other.reset()
        return other

    def reset(self) -> None:
        """Optimise again on the next call: the detector's weights have changed or moved."""
        self._optimised, self._runs = None, {}

    @torch.no_grad()
    def __call__(self, images: Tensor, wanted: Collection[str] = ("neck",)) -> Record:
        """Maps of normalised images, in float32 unless autocast decides.

        Args:
            images: Normalised images.
            wanted: The parts whose maps to give: `neck`, `backbone` or both.

        Returns:
            For each of them maps `(B, C, H / stride, W / stride)`.
        """
        if self._optimised is None:
            self._optimised = self._optimise(images)
        both, part = len(wanted) == len(PARTS), "neck" if "neck" in wanted else "backbone"
        if self._backbone_hook is None and (both or self.compile):  # a compiled model ignores later hooks
            self._backbone_hook = self._optimised.backbone.register_forward_hook(self._keep_backbone)
        run = self._run_of(part)
        if self.dtype is None:
            maps = run(images)
        else:
            with torch.autocast(images.device.type, enabled=False):
                maps = run(images.to(self.dtype))
        record = {part: maps}
        if both:
            record["backbone"] = self._backbone_maps
        self._backbone_maps = ()
        return {source: tuple(self._plain(m) for m in listed(maps)) for source, maps in record.items()}

    def _plain(self, feature_map: Tensor) -> Tensor:
        return (feature_map if self.dtype is None else feature_map.float()).contiguous()

    def _keep_backbone(self, module: nn.Module, inputs: tuple, maps: Sequence[Tensor]) -> None:
        self._backbone_maps = maps

    def _run_of(self, part: str) -> Callable[[Tensor], Sequence[Tensor]]:
        """What gives the maps of the neck, or of the backbone alone."""
        if part not in self._runs:
            run = self._optimised.extract_feat if part == "neck" else self._optimised.backbone
            self._runs[part] = torch.compile(run) if self.compile else run
        return self._runs[part]

    def _optimise(self, images: Tensor) -> BaseModel:
        """The detector, optimised, or a copy in the requested precision."""
        if self._backbone_hook is not None:
            self._backbone_hook.remove()
            self._backbone_hook = None
        if self.changes:
            self.has_fused = self.has_fused or FUSED in self.changes
            self._make_changes(images[:1])
        self.dtype = dtype_on(images.device, self.precision)
        return self.detector if self.dtype is None else self._in_precision(images[:1])

    def _in_precision(self, image: Tensor) -> BaseModel:
        """A copy in the requested precision; the detector itself if an operator does not support it."""
        detector = _copy(self.detector, self.dtype)
        problem = first_process_decides(lambda: _refusal(detector, image.to(self.dtype)))
        if problem:
            print_log(f"the teacher runs in fp32: {self.dtype} fails ({problem})", "current", level=logging.WARNING)
            self.dtype = None
            return self.detector
        if self.precision == "auto":
            advice = "model.teacher_precision='fp32' changes that"
            print_log(f"the teacher computes in bfloat16, as this processor can: {advice}", "current")
        return detector

    def _make_changes(self, image: Tensor) -> None:
        kept = first_process_decides(lambda: self._try_changes(image))
        if not is_main_process():
            for name in kept:
                self._apply(self.changes[name])

    def _try_changes(self, image: Tensor) -> list[str]:
        """Make the optimisations that leave the maps as they are. Returns their names."""
        try:
            piece, maps = _probe(self.detector, image)
        except OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:  # Apple's MPS has no float64 and raises a TypeError
            print_log(f"the teacher is not optimised: it fails in float64 ({error})", "current", level=logging.WARNING)
            return []
        return [name for name, change in self.changes.items() if self._keeps(name, change, piece, maps)]

    def _keeps(
        self, name: str, change: Callable[[nn.Module], nn.Module], image: Tensor, maps: Sequence[Tensor]
    ) -> bool:
        """Apply one optimisation to backbone and neck, and undo it where the maps change.

        Maps change where a batch norm does not follow its convolution, where a convolution computes its weights in its
        forward, or where an operator (deformable convolution) does not support channels last.
        """
        parts = _parts(self.detector)
        try:
            self._apply(change)
            problem = _difference(maps, _exact_maps(self.detector, image))
        except OutOfMemoryError:
            raise
        except RuntimeError as error:
            problem = f"it would fail ({error})"
        if problem:
            for part, module in parts.items():
                setattr(self.detector, part, module)
            print_log(f"the teacher runs without {name!r}: {problem}", "current", level=logging.WARNING)
        return not problem

    def _apply(self, change: Callable[[nn.Module], nn.Module]) -> None:
        for part, module in _parts(self.detector).items():
            setattr(self.detector, part, change(copy.deepcopy(module)).requires_grad_(False))


def _refusal(detector: BaseModel, image: Tensor) -> str | None:
    """Why an operator, such as mmcv's deformable convolution, refuses the type of an image; `None` if none does."""
    try:
        with torch.autocast(image.device.type, enabled=False):
            detector.extract_feat(image)
    except OutOfMemoryError:
        raise
    except RuntimeError as error:
        return str(error)
    return None


def _copy(detector: BaseModel, dtype: torch.dtype) -> BaseModel:
    """A detector with copies of backbone and neck in another precision; all other parts are shared."""
    other = copy.copy(detector)
    other._modules = dict(detector._modules)
    for part, module in _parts(detector).items():
        setattr(other, part, copy.deepcopy(module).to(dtype))
    return other


def _parts(detector: BaseModel) -> dict[str, nn.Module]:
    """Backbone and neck; a classifier may have no neck."""
    return {part: module for part in PARTS if (module := getattr(detector, part, None)) is not None}


def _probe(detector: BaseModel, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A crop of an image and its maps in float64; the whole image where the crop is too small (SSD: 300 pixels)."""
    piece = image[:, :, :PROBE_SIDE, :PROBE_SIDE]
    try:
        return piece, _exact_maps(detector, piece)
    except OutOfMemoryError:
        raise
    except RuntimeError:
        if piece.shape == image.shape:
            raise
    return image, _exact_maps(detector, image)


def _exact_maps(detector: BaseModel, images: Tensor) -> tuple[Tensor, ...]:
    """Maps in float64, without autocast and TF32."""
    with torch.autocast(images.device.type, enabled=False):
        return tuple(listed(_copy(detector, torch.float64).extract_feat(images.double())))


def _channels_last(module: nn.Module) -> nn.Module:
    return module.to(memory_format=torch.channels_last)


def _difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> str | None:
    """Message about how the maps differ; `None` if they agree within `TOLERANCE`."""
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        difference, largest = (one - other).abs().max().item(), one.abs().max().item()
        if not difference <= TOLERANCE * largest and torch.isfinite(one).all():
            return f"map {index} would differ by {difference:.1e}, and its largest value is {largest:.1e}"
    return None
