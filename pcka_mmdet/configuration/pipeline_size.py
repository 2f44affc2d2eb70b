"""The size of images in a pipeline."""

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
    steps = [node for _, node in walk(dataset) if isinstance(node, dict) and "type" in node and "pipeline" not in node]
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
