"""Faster backbone and neck of a frozen detector: changes that leave its maps as they are, and its precision."""

import copy
from collections.abc import Callable, Sequence

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from pcka_mmdet.configuration.sentence import warn

from ..attempts import first_process_decides, tried
from ..sources import PARTS, listed

FUSED = "batch norms fused"
CHANNELS_LAST = "channels last"

CHANGES: dict[str, Callable[[nn.Module], nn.Module]] = {
    FUSED: fuse_conv_bn,
    CHANNELS_LAST: lambda module: module.to(memory_format=torch.channels_last),
}

PROBE_SIDE = 256
"""Side in pixels of the image crop that each change is tried on."""

TOLERANCE = 1e-4
"""Largest difference that a change may make, relative to the largest value of a map."""

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def change_parts(detector: BaseModel, names: Sequence[str], image: Tensor) -> None:
    """Replace backbone and neck by changed copies, with those `CHANGES` that leave the maps of an image as they are.

    Maps change where a batch norm does not follow its convolution, where a convolution computes its weights in its
    forward, or where an operator (deformable convolution) does not support channels last. The first process decides.
    """
    kept = first_process_decides(lambda: _try_changes(detector, names, image))
    if not is_main_process():
        for name in kept:
            _change(detector, name)


def _try_changes(detector: BaseModel, names: Sequence[str], image: Tensor) -> list[str]:
    """Apply the changes that leave the maps as they are. Returns their names."""
    # Apple's MPS has no float64 and raises a TypeError
    probe, error = tried(lambda: _probe(detector, image), RuntimeError, TypeError)
    if error:
        warn(f"the teacher is not optimised: it fails in float64 ({error})")
        return []
    return [name for name in names if _keeps_maps(detector, name, *probe)]


def _keeps_maps(detector: BaseModel, name: str, image: Tensor, maps: Sequence[Tensor]) -> bool:
    """Apply one change, and undo it where the maps change."""
    before = _parts(detector)

    def changed_maps() -> tuple[Tensor, ...]:
        _change(detector, name)
        return _exact_maps(detector, image)

    after, error = tried(changed_maps, RuntimeError)
    problem = f"it would fail ({error})" if error else _difference(maps, after)
    if problem:
        for part, module in before.items():
            setattr(detector, part, module)
        warn(f"the teacher runs without {name!r}: {problem}")
    return not problem


def _change(detector: BaseModel, name: str) -> None:
    for part, module in _parts(detector).items():
        setattr(detector, part, CHANGES[name](copy.deepcopy(module)).requires_grad_(False))


def _parts(detector: BaseModel) -> dict[str, nn.Module]:
    """Backbone and neck; a classifier may have no neck."""
    return {part: module for part in PARTS if (module := getattr(detector, part, None)) is not None}


def _probe(detector: BaseModel, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A crop of an image and its maps in float64; the whole image where the crop is too small (SSD: 300 pixels)."""
    crop = image[:, :, :PROBE_SIDE, :PROBE_SIDE]
    maps, error = tried(lambda: _exact_maps(detector, crop), RuntimeError)
    return (image, _exact_maps(detector, image)) if error else (crop, maps)


def _exact_maps(detector: BaseModel, images: Tensor) -> tuple[Tensor, ...]:
    """Maps in float64, without autocast and TF32."""
    with torch.autocast(images.device.type, enabled=False):
        return tuple(listed(_converted(detector, torch.float64).extract_feat(images.double())))


def _difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> str | None:
    """Message about how the maps differ; `None` if they agree within `TOLERANCE`."""
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        difference, largest = (old - new).abs().max().item(), old.abs().max().item()
        if not difference <= TOLERANCE * largest and torch.isfinite(old).all():
            return f"map {index} would differ by {difference:.1e}, and its largest value is {largest:.1e}"
    return None


def _converted(detector: BaseModel, dtype: torch.dtype) -> BaseModel:
    """The detector with copies of backbone and neck in another precision; the rest is shared."""
    converted = copy.copy(detector)
    converted._modules = dict(detector._modules)
    for part, module in _parts(detector).items():
        setattr(converted, part, copy.deepcopy(module).to(dtype))
    return converted


def in_precision(detector: BaseModel, precision: str, image: Tensor) -> tuple[BaseModel, torch.dtype | None]:
    """The detector with backbone and neck in a precision, and the type; `None` for float32, or if an operator fails."""
    dtype = dtype_on(image.device, precision)
    if dtype is None:
        return detector, None
    converted = _converted(detector, dtype)

    def problem() -> str:
        with torch.autocast(image.device.type, enabled=False):
            _, error = tried(lambda: converted.extract_feat(image.to(dtype)), RuntimeError)
        return str(error or "")

    refusal = first_process_decides(problem)  # as of mmcv's deformable convolution
    if refusal:
        warn(f"the teacher runs in fp32: {dtype} fails ({refusal})")
        return detector, None
    if precision == "auto":
        advice = "model.teacher_precision='fp32' changes that"
        print_log(f"the teacher computes in bfloat16, as this processor can: {advice}", "current")
    return converted, dtype


def dtype_on(device: torch.device, precision: str) -> torch.dtype | None:
    """The type that a teacher computes in; `None` leaves it to autocast, without which it is float32.

    `'auto'` chooses bfloat16 where the processor does not have to emulate it. Raises ValueError for an unknown one.
    """
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else None
    if precision not in PRECISIONS:
        raise ValueError(f"teacher_precision must be one of {['auto', *PRECISIONS]}, got {precision!r}")
    return PRECISIONS[precision]


def has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU (from Ampere on) or an x86 CPU computes in bfloat16; `False` where torch cannot tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # older torch has none
    return device.type == "cpu" and bool(capabilities().get("avx512_bf16"))
