"""The size of images in a pipeline."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from .distillation import student_model
from .nested import last_name, replaced, walk

SIZES: dict[str, tuple[str, ...]] = {
    "CachedMixUp": ("img_scale",),
    "CachedMosaic": ("img_scale",),
    "CutOut": ("cutout_shape",),
    "FilterAnnotations": ("min_gt_bbox_wh",),
    "MixUp": ("img_scale",),
    "Mosaic": ("img_scale",),
    "Pad": ("size",),
    "RandomAffine": ("border",),
    "RandomChoiceResize": ("scales",),
    "RandomCenterCropPad": ("crop_size",),
    "RandomCrop": ("crop_size",),
    "RandomResize": ("scale",),
    "RandomShift": ("max_shift_px",),
    "Resize": ("scale",),
    "FixShapeResize": ("width", "height"),
}
"""Settings in pixels of MMDetection's transforms."""

RESIZING = ("FixShapeResize", "RandomChoiceResize", "RandomResize", "Resize")

RELATIVE = ("relative", "relative_range")
"""Values of `crop_type` whose `crop_size` is a share of the image."""


def enlarge_images(dataset: dict, factor: int) -> None:
    """Multiply all sizes of a data set's transforms, in place.

    Raises:
        ValueError: No transform sets the size of the images.
    """
    steps = _steps(dataset)
    found = {last_name(step["type"]) for step in steps}
    if not found & set(RESIZING):
        raise ValueError(
            f"model.teacher_scale={factor} needs larger images, and no transform of the pipeline sets their size "
            f"({', '.join(sorted(found))}): add dict(type='Resize', scale=(WIDTH, HEIGHT)), the student's size"
        )
    for step in steps:
        for key in SIZES.get(last_name(step["type"]), ()):
            if step.get(key) is not None and step.get("crop_type") not in RELATIVE:
                step[key] = replaced(step[key], lambda side: side * factor, (int, float))


def padded_size(config: Config, loader: str = "train_dataloader") -> tuple[int, int] | None:
    """Height and width of the padded images, landscape; `None` where the pipeline does not state them.

    The last `Pad` or `RandomCrop` to a size in pixels decides, or else the largest scale of the first `Resize`.
    """
    scales, cuts = [], []
    for step in _steps(config[loader].dataset):
        name = last_name(step["type"])
        if name == "Pad":
            cuts.append(step.get("size"))
        elif name == "RandomCrop" and step.get("crop_type", "absolute") == "absolute":
            cuts.append(step["crop_size"])
        elif name.endswith("Resize"):
            scale: Any = step.get("scale") or step.get("scales")
            is_random = isinstance(scale, Sequence) and isinstance(scale[0], Sequence)
            scales.append(max(scale) if is_random else scale)
    sizes = [*reversed(cuts), *scales]
    scale = next((size for size in sizes if size), None)
    if scale is None:
        return None
    preprocessor = student_model(config).get("data_preprocessor") or config.get("data_preprocessor") or {}
    divisor = preprocessor.get("pad_size_divisor", 1)
    sides = scale if isinstance(scale, Sequence) else (scale, scale)
    height, width = (side + -side % divisor for side in sorted(sides))
    return height, width


def _steps(dataset: dict) -> list[dict]:
    """All transforms of a data set, those of its wrappers and of choices too."""
    return [node for _, node in walk(dataset) if isinstance(node, dict) and "type" in node and "pipeline" not in node]
