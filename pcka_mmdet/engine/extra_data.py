"""Labelled and extra images: their data set, their batches, and the mark of images without labels."""

import copy
import math
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose, ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from pcka_mmdet.models.sources import UNLABELLED
from pcka_mmdet.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS


@DATASETS.register_module()
class LabelledAndExtraImages(ConcatDataset):
    """The labelled images, then the extra ones. Hooks that change the pipeline during the training change both."""

    @property
    def pipeline(self) -> Any:
        return self.datasets[0].pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        """Set by `PipelineSwitchHook`."""
        labelled, extra = self.datasets
        marks = [step for step in _transforms(extra.pipeline) if isinstance(step, MarkUnlabelled)]
        labelled.pipeline = pipeline
        extra.pipeline = Compose([*copy.deepcopy(_transforms(pipeline)), *marks])
        if marks:
            for step in _nested_transforms(extra.pipeline):
                if hasattr(step, "allow_negative_crop"):  # else it wants a box
                    step.allow_negative_crop = True

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Called by `YOLOXModeSwitchHook`."""
        for part in self.datasets:
            part.update_skip_type_keys(skip_type_keys)


def _transforms(pipeline: Any) -> list:
    return list(getattr(pipeline, "transforms", pipeline))


def _nested_transforms(pipeline: Any) -> Iterator[Any]:
    """All transforms, those of choices too."""
    for step in _transforms(pipeline):
        yield step
        if hasattr(step, "transforms"):
            yield from _nested_transforms(step)


@DATA_SAMPLERS.register_module()
class ExtraImagesSampler(Sampler):
    """Gives each batch the same number of extra images, after its labelled ones.

    An epoch has as many batches as one of the labelled images alone, and the last one is whole. All images of a kind
    are seen once before any is seen again, over all epochs and processes.

    Args:
        dataset: The labelled images, then the extra ones.
        batch_size: Images in a batch of one process.
        extra: How many of these are extra images.
        shuffle: Whether the order is random, anew each time that all images of a kind were seen.
        seed: Of the order; `None` draws one for all processes.
        drop_last: Whether the data loader leaves out a last batch that is not whole.
    """

    def __init__(
        self,
        dataset: ConcatDataset,
        batch_size: int,
        extra: int,
        shuffle: bool = True,
        seed: int | None = None,
        drop_last: bool = False,
    ):
        labelled, others = map(len, dataset.datasets)
        self.sizes = labelled, others
        self.batch_size, self.extra, self.shuffle, self.drop_last = batch_size, extra, shuffle, drop_last
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        positions = range(len(self))
        is_extra = [position % self.batch_size >= self.batch_size - self.extra for position in positions]
        streams = [self._stream(kind, is_extra.count(bool(kind))) for kind in (0, 1)]
        return (next(streams[kind]) for kind in map(int, is_extra))

    def __len__(self) -> int:
        labelled = math.ceil(self.sizes[0] / self.world_size)
        batches = labelled // self.batch_size if self.drop_last else math.ceil(labelled / self.batch_size)
        return batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def _stream(self, kind: int, of_epoch: int) -> Iterator[int]:
        """Indices of this process's images of a kind, from where the last epoch ended."""
        size, offset = self.sizes[kind], kind * self.sizes[0]
        order, shown = torch.arange(size), -1
        for place in count(self.epoch * of_epoch * self.world_size + self.rank, self.world_size):
            times, index = divmod(place, size)
            if self.shuffle and times != shown:
                generator = torch.Generator().manual_seed(self.seed + 1_000_003 * times + kind)
                order, shown = torch.randperm(size, generator=generator), times
            yield offset + int(order[index])


@TRANSFORMS.register_module()
class MarkUnlabelled(BaseTransform):
    """Marks an image as one without labels, after the packing: the task's loss leaves it out."""

    def transform(self, results: dict) -> dict:
        results["data_samples"].set_metainfo({UNLABELLED: True})
        return results
