"""The batch of a step as the task, the student and the teachers see it. Images are `(B, 3, H, W)`."""

import math

import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor

from .outputs import box_tensor
from .sources import UNLABELLED
from .teacher.images import pad_to_multiple

Sided = tuple[Tensor, list[BaseDataElement] | None]
"""Images and their data samples, as one side sees them."""


def labelled_first(
    inputs: Tensor, data_samples: list[BaseDataElement] | None
) -> tuple[Tensor, list[BaseDataElement] | None, int | None]:
    """The batch with its labelled images first, and their number; `None` if all are labelled."""
    without = [sample.metainfo.get(UNLABELLED, False) for sample in data_samples or ()]
    if not any(without):
        return inputs, data_samples, None
    if all(without):
        raise ValueError(
            "a batch has no labelled image, so the task has no loss: draw batches by pcka_mmdet.ExtraImagesSampler"
        )
    order = sorted(range(len(without)), key=without.__getitem__)
    if order != list(range(len(order))):
        inputs, data_samples = inputs[order], [data_samples[place] for place in order]
    return inputs, data_samples, without.count(False)


def of_both_sides(
    images: Tensor, samples: list[BaseDataElement] | None, scale: int, divisor: int, pad_value: float
) -> tuple[Sided, Sided]:
    """The batch of the teachers and that of the student, whose images are smaller by `scale`.

    Both are padded alike, so that the student's sides are multiples of `divisor`; the same batch with a scale of 1.
    """
    if scale == 1:
        return (images, samples), (images, samples)
    images = pad_to_multiple(images, divisor * scale, pad_value)
    of_teacher = samples and [sample.clone() for sample in samples]
    for sample in of_teacher or ():
        sample.set_metainfo(dict(batch_input_shape=tuple(images.shape[2:])))
    return (images, of_teacher), reduced(images, samples, scale)


def reduced(images: Tensor, samples: list[BaseDataElement] | None, scale: int) -> Sided:
    """The batch of the student, whose images are smaller by a factor: each pixel is the mean of the teacher's.

    H and W are multiples of `scale`; boxes and sizes of the samples are divided. Raises ValueError for masks.
    """
    images = F.avg_pool2d(images, scale)
    return images, samples and [_reduced_sample(sample, tuple(images.shape[2:]), scale) for sample in samples]


def _reduced_sample(sample: BaseDataElement, batch_shape: tuple[int, int], scale: int) -> BaseDataElement:
    sample = sample.clone()
    for name in ("gt_instances", "ignored_instances"):
        instances = sample.get(name)
        if instances is None:
            continue
        if "masks" in instances:
            raise ValueError("model.teacher_scale reduces boxes and no masks: set teacher_scale=1, or load no masks")
        instances = instances.clone()  # a clone of a sample shares them
        instances.bboxes = box_tensor(instances.bboxes) / scale
        setattr(sample, name, instances)
    shapes = {name: sample.metainfo[name] for name in ("img_shape", "pad_shape") if name in sample.metainfo}
    metainfo = {name: tuple(math.ceil(side / scale) for side in shape[:2]) for name, shape in shapes.items()}
    if "scale_factor" in sample.metainfo:
        metainfo["scale_factor"] = tuple(factor / scale for factor in sample.metainfo["scale_factor"])
    sample.set_metainfo({**metainfo, "batch_input_shape": batch_shape})
    return sample
