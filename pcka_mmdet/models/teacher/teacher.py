"""The frozen teacher: loaded strictly, in eval mode always, fed in its own normalisation and padding.

Shape shorthand: a batch of images is `(B, 3, H, W)`.
"""

import copy
import logging
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from pcka_mmdet.checkpoints.matching import Problem, of_part, summarise

from ..levels import Level, neck_levels
from ..outputs import in_float32
from ..sources import Record, RoIOutputs, dense_head
from ..training_state import OutOfMemoryError, first_process_decides
from .heads import run_dense_head, run_on_own_proposals, run_roi_head
from .images import Normalisation, crop_to_image, of_classifier, pad_to_multiple, renormalise, size_divisor
from .loading import load_strictly
from .neck_forward import PARTS, NeckForward
from .precision import dtype_on


class Teacher:
    """A frozen detector, or classifier, that gives the sources that losses read.

    It is no `nn.Module`, so a model that holds it does not register its parameters: they are in no optimizer, no
    checkpoint and no DDP bucket, and a deep copy of that model (`EMAHook`) shares it.

    Args:
        detector: The detector; its backbone and neck run, and its head where a loss asks for it.
        checkpoint: File or URL of its weights. `None` leaves them random, with a warning, `'random'` without one.
        options: Options of `NeckForward`.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The checkpoint cannot be read, or is of another architecture.
    """

    def __init__(self, detector: BaseModel, checkpoint: str | None = None, **options: Any):
        self.detector = detector.eval().requires_grad_(False)
        self.neck_forward = NeckForward(self.detector, **options)
        self.normalisation = Normalisation.of(detector.data_preprocessor)
        self.divisor = size_divisor(self.detector)
        # MMPretrain's models are never without one
        preprocessor = detector.data_preprocessor
        bare = type(preprocessor).__name__ == "BaseDataPreprocessor" or of_classifier(preprocessor)
        if bare and self.normalisation == Normalisation.of(BaseDataPreprocessor()):
            message = "the teacher's model has no data_preprocessor, so it sees pixels as they are"
            print_log(f"{message}: give it the one of its training", "current", level=logging.WARNING)
        self.sha256: str | None = None
        """sha256 of the checkpoint's file; `None` without a file."""
        self.problems: list[Problem] = []
        """Keys of the head that were not loaded."""
        self._head_refuses: dict[torch.device, bool] = {}
        """By device, whether the dense head computes in float32 because bfloat16 has failed there."""
        self._borrowed = False
        """Whether the detector belongs to another model, which moves it."""
        if checkpoint is None:
            message = "the teacher has random weights: set `teacher_ckpt` to its checkpoint"
            print_log(f"{message}, or to 'random' where that is meant", "current", level=logging.WARNING)
        elif checkpoint != "random":
            self.sha256, self.problems = load_strictly(detector, checkpoint)

    def __deepcopy__(self, memo: dict) -> "Teacher":
        """The same detector, borrowed: moving the copy of a model does not move the original's teacher."""
        other = copy.copy(self)
        other._borrowed = True
        return other

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move the weights to where `nn.Module._apply` would, keeping their values and precision."""
        if not self._borrowed:
            self.detector._apply(lambda tensor: tensor.to(change(tensor.new_empty(0)).device))
            self.neck_forward.reset()

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        samples: Sequence[BaseDataElement] | None,
        source: Normalisation,
        wanted: Collection[str] = ("neck",),
    ) -> Record:
        """The sources that losses read from the teacher, except the RoI head's outputs: see `roi_head`.

        Args:
            images: Images `(B, 3, H, W)`.
            samples: Their data samples.
            source: How the images were normalised.
            wanted: Names of the sources to give.

        Returns:
            The wanted sources, and `neck` where a head needs it.
        """
        if self._borrowed and self._device != images.device:
            self._take_copy(images.device)
        if self.detector.training:  # a validation loop has changed it
            self.detector.eval()
        images = renormalise(images, samples, source, self.normalisation)
        padded = pad_to_multiple(images, self.divisor, self.normalisation.pad_value)
        parts = [part for part in PARTS if part in wanted or (part == "neck" and set(wanted) - set(PARTS))]
        record = self.neck_forward(padded, parts)
        if "logits" in wanted:
            with self._without_autocast():
                record["logits"] = [self.detector.head(in_float32(record["neck"]))]
        if padded is not images:
            record = {name: [crop_to_image(m, images, padded) for m in maps] for name, maps in record.items()}
        if "head" in wanted:
            record["head"] = self.head(record["neck"])
        return record

    @property
    def dense_head(self) -> nn.Module:
        """The frozen dense head, or RPN."""
        return dense_head(self.detector)

    @property
    def num_levels(self) -> int:
        """Levels of the neck."""
        return len(self._neck_levels)

    def head(self, maps: Sequence[Tensor | None]) -> list[tuple[Tensor, ...] | None]:
        """Raw outputs of the frozen dense head, or RPN, on any maps, in float32; see `run_dense_head`.

        The head computes in bfloat16 if the neck does and the head's operators support that. It never computes in
        float16, in which small gradients would vanish.
        """
        maps, device = in_float32(maps), self._device
        if dtype_on(device, self.neck_forward.precision) is torch.bfloat16:
            if device not in self._head_refuses:
                self._head_refuses[device] = first_process_decides(lambda: self._head_fails_in_bfloat16(maps))
            if not self._head_refuses[device]:
                return self._head_in_bfloat16(maps)
        with self._without_autocast():
            return run_dense_head(self.detector, self._neck_levels, maps)

    def _head_in_bfloat16(self, maps: Sequence[Tensor | None]) -> list[tuple[Tensor, ...] | None]:
        with torch.autocast(self._device.type, torch.bfloat16):
            return in_float32(run_dense_head(self.detector, self._neck_levels, maps))

    @torch.no_grad()
    def _head_fails_in_bfloat16(self, maps: Sequence[Tensor | None]) -> bool:
        try:
            self._head_in_bfloat16(maps)
        except OutOfMemoryError:
            raise
        except RuntimeError as error:  # such as mmcv's deformable convolution
            message = f"the teacher's head runs in fp32: torch.bfloat16 fails ({error})"
            print_log(message, "current", level=logging.WARNING)
            return True
        return False

    def roi_head(self, maps: Sequence[Tensor], proposals: Sequence[Tensor]) -> list[RoIOutputs]:
        """Raw outputs of the frozen RoI head for any maps and proposals, in float32; see `run_roi_head`."""
        with self._without_autocast():
            return run_roi_head(self.detector, in_float32(maps), in_float32(proposals))

    @torch.no_grad()
    def own_proposals(
        self,
        maps: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        most: int,
        of_rpn: Sequence[tuple[Tensor, ...]] | None = None,
    ) -> list[RoIOutputs]:
        """Raw outputs of the RoI head for its own proposals, in float32; see `run_on_own_proposals`.

        Args:
            maps: The neck maps.
            image_sizes: Height and width of each image.
            most: Proposals of an image.
            of_rpn: The RPN's outputs by level, if it has run on these maps already; see `head`.
        """
        of_rpn = self.head(maps) if of_rpn is None else of_rpn
        with self._without_autocast():
            return run_on_own_proposals(self.detector, in_float32(maps), of_rpn, image_sizes, most)

    def try_roi_head(self) -> None:
        """Run the RoI head on maps of zeros; raises what it raises."""
        like = next(self.detector.parameters())
        maps = [
            like.new_zeros(1, level.channels, 256 // level.stride, 256 // level.stride) for level in self._neck_levels
        ]
        self.own_proposals(maps, [(256, 256)], 2)

    def check_sources(self, wanted: Collection[str]) -> None:
        """Refuse sources that the teacher cannot give, before a training starts.

        Raises:
            ValueError: A loss needs the head, which was not loaded in full or whose outputs have no levels.
        """
        heads = {"head", "roi_head", "logits"} & set(wanted)
        of_roi_head = of_part(self.problems, "roi_head")
        others = [problem for problem in self.problems if problem not in of_roi_head]
        problems = [*(of_roi_head if "roi_head" in heads else []), *(others if heads - {"roi_head"} else [])]
        if problems:
            raise ValueError(
                f"a loss reads the teacher's {', '.join(sorted(heads))}, and its head was not loaded in full: "
                f"{summarise(problems)}. Set num_classes in the teacher's config to what it was trained for, or "
                "leave the loss out (--recipe maps compares the neck maps)"
            )
        if "head" in heads:  # fails unless the head gives one map per level
            like = next(self.detector.parameters())
            with torch.no_grad():
                self.head([like.new_zeros(1, level.channels, 4, 4) for level in self._neck_levels])

    @property
    def _device(self) -> torch.device:
        return next(self.detector.parameters()).device

    def _without_autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, enabled=False)

    @cached_property
    def _neck_levels(self) -> list[Level]:
        return neck_levels(self.detector)

    def _take_copy(self, device: torch.device) -> None:
        """Replace the borrowed detector by a copy on `device`."""
        self.detector, self._borrowed = copy.deepcopy(self.detector).to(device), False
        self.neck_forward = self.neck_forward.of(self.detector)
