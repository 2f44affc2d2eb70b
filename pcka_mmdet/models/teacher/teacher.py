"""The frozen teacher: loaded strictly, in eval mode always, fed in its normalisation and padding.

Shape shorthand: a batch of images is `(B, 3, H, W)`.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils._pytree import tree_map_only

from pcka_mmdet.checkpoints.matching import Problem, of_part, summarise
from pcka_mmdet.configuration.sentence import warn

from ..initial_weights import load_strictly
from ..outputs import in_float32
from ..queries import has_queries
from ..sources import PARTS, Record
from .heads import FrozenHeads
from .images import (
    Normalisation,
    crop_to_image,
    image_sizes,
    of_classifier,
    pad_to_multiple,
    renormalise,
    size_divisor,
)
from .neck_forward import NeckForward
from .predictions import scores_of_head, scores_of_queries


class Teacher(FrozenHeads):
    """A frozen detector, or classifier, that gives the sources that losses read.

    It is no `nn.Module`, so its parameters are in no optimizer, checkpoint or DDP bucket, and a deep copy of the model
    that holds it (`EMAHook`) shares it.

    Args:
        detector: The detector; its backbone and neck run, and its head where a loss asks for it.
        checkpoint: File or URL of its weights. `None` leaves them random, with a warning, `'random'` without one.
        options: Options of `NeckForward`.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The checkpoint cannot be read, or is of another architecture.
    """

    def __init__(self, detector: BaseModel, checkpoint: str | None = None, **options: Any):
        super().__init__(detector.eval().requires_grad_(False), options.get("precision", "fp32"))
        self._options = options
        self.neck_forward = NeckForward(detector, **options)
        self.normalisation = Normalisation.of(detector.data_preprocessor)
        self.divisor = size_divisor(detector)
        preprocessor = detector.data_preprocessor
        # MMPretrain's models always have one
        bare = type(preprocessor) is BaseDataPreprocessor or of_classifier(preprocessor)
        if bare and self.normalisation == Normalisation.of(BaseDataPreprocessor()):
            warn("the teacher's model has no data_preprocessor, so it sees raw pixels: give it that of its training")
        self.sha256: str | None = None
        """sha256 of the checkpoint's file; `None` without a file."""
        self.problems: list[Problem] = []
        """Keys of the head that were not loaded."""
        self._borrowed = False  # whether the detector belongs to the model that this one was copied from
        if checkpoint is None:
            warn(
                "the teacher has random weights: set `teacher_ckpt` to its checkpoint, or to 'random' if that is meant"
            )
        elif checkpoint != "random":
            self.sha256, self.problems = load_strictly(detector, checkpoint)

    def __deepcopy__(self, memo: dict) -> "Teacher":
        """The same detector, borrowed: moving the copy of a model does not move the original's teacher."""
        borrower = copy.copy(self)
        borrower._borrowed = True
        return borrower

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move the weights to where `nn.Module._apply` would, keeping their values and precision."""
        if not self._borrowed:
            self.detector._apply(lambda tensor: tensor.to(change(tensor.new_empty(0)).device))
            self.neck_forward.optimised = None

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        samples: Sequence[BaseDataElement] | None,
        source: Normalisation,
        wanted: Collection[str] = ("neck",),
        labelled: int | None = None,
        general: int = 0,
        classes: Collection[int] | None = None,
    ) -> Record:
        """The wanted sources for images that `source` normalised, and `neck` where a head needs it.

        Args:
            wanted: Names of sources, and `scores`: the scores at the positions of the levels.
            labelled: Number of the first images that `queries` and `memory` are for; `None`: all.
            general: Number of general queries; see `queries`. The record's `shared_queries` have them too.
            classes: Indices of the classes that `predictions` are for; `None`: all.
        """
        if self._borrowed and self._device != images.device:
            self._take_copy(images.device)
        if self.detector.training:  # a validation loop has changed it
            self.detector.eval()
        images = renormalise(images, samples, source, self.normalisation)
        padded = pad_to_multiple(images, self.divisor, self.normalisation.pad_value)
        parts = [part for part in PARTS if part in wanted]
        if "neck" not in parts and set(wanted) - set(PARTS):
            parts.append("neck")
        record = self.neck_forward(padded, parts)
        if "logits" in wanted:
            with self._without_autocast():
                record["logits"] = [self.detector.head(in_float32(record["neck"]))]
        if padded is not images:
            record = {name: [crop_to_image(m, images, padded) for m in maps] for name, maps in record.items()}
        is_detr, needs_found = has_queries(self.detector), {"scores", "predictions"} & set(wanted)
        if "head" in wanted or (needs_found and not is_detr):
            record["head"] = self.head(record["neck"])
        if {"queries", "memory"} & set(wanted) or (needs_found and is_detr):
            count = None if needs_found else labelled
            maps = [level[:count] for level in record["neck"]]
            of_decoder, record["shared_queries"] = self.queries(maps, samples and samples[:count], general)
            record |= of_decoder
        if "scores" in wanted and is_detr:
            record["scores"] = scores_of_queries(self.own_queries(record), record["neck"])
        elif "scores" in wanted:
            record["scores"] = scores_of_head(self.dense_head, record["head"])
        if "predictions" in wanted:
            sizes = image_sizes(samples, len(images), tuple(images.shape[2:]))
            record["predictions"] = self.predictions(record, sizes, classes)
        for name in {"queries", "memory", "shared_queries"} & record.keys() if labelled else ():
            record[name] = tree_map_only(Tensor, lambda tensor: tensor[:labelled], record[name])
        return record

    def check_sources(self, wanted: Collection[str]) -> None:
        """Refuse sources that the teacher cannot give, before a training starts.

        Raises:
            ValueError: A loss needs the head, which was not loaded in full or whose outputs have no levels.
        """
        heads = {"head", "roi_head", "logits", "queries", "memory", "scores", "predictions"} & set(wanted)
        in_roi_head = of_part(self.problems, "roi_head")
        problems = in_roi_head if {"roi_head", "predictions"} & heads else []
        if heads - {"roi_head"}:
            problems = [*problems, *(problem for problem in self.problems if problem not in in_roi_head)]
        if problems:
            raise ValueError(
                f"a loss reads the teacher's {', '.join(sorted(heads))}, and its head was not loaded in full: "
                f"{summarise(problems)}. Set num_classes in the teacher's config to what it was trained for, or "
                "leave the loss out (--recipe maps compares the neck maps)"
            )
        if "head" in heads or (heads & {"scores", "predictions"} and not has_queries(self.detector)):
            with torch.no_grad():
                self.head(self._zero_maps())

    def _take_copy(self, device: torch.device) -> None:
        """Replace the borrowed detector by a copy on `device`."""
        self.detector, self._borrowed = copy.deepcopy(self.detector).to(device), False
        self.neck_forward, self._decoder = NeckForward(self.detector, **self._options), None
