"""The cost of a distillation, computed from its config: multiply-adds, memory, and what a training of it takes.

Each detector runs forward on zero images, and the distillation takes one step of losses without a backward, with random
weights. The formulas are those of docs/performance.md.
"""

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from pcka_mmdet.configuration.complexity import multiply_adds
from pcka_mmdet.configuration.data_set import all_innermost, annotation_file, repeats
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import padded_size
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.configuration.schedule import num_images
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.losses import RoIHeadLoss
from pcka_mmdet.models.recipes import losses_of
from pcka_mmdet.models.sources import dense_head, stages
from pcka_mmdet.models.teacher.heads import FrozenHeads

COCO, COCO_IMAGES = "instances_train2017.json", 117_266
"""COCO's training annotations, and the images in them that have boxes."""


@dataclass(frozen=True)
class TeacherCounts:
    """Multiply-adds of the teacher, for one image."""

    to_neck: int
    """Of backbone and neck."""
    head: int
    """Of the dense head, or RPN; 0 where no loss needs it."""
    roi_head: int
    """Of the RoI head, for the proposals that are compared."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a training holds, by what they are for. Weights include buffers."""

    student: int
    """Weights of the student, and of connectors and generators."""
    student_alone: int
    """Weights of the student."""
    gradients: int
    optimizer: int
    """State of the config's optimizer, such as momentum."""
    average: int
    """The averaged copy of `EMAHook`."""
    teacher: int
    """Weights of the teacher."""
    teacher_maps: int
    """The neck's maps, of one image."""
    kept_alone: int
    """What a step of the student alone keeps for its backward, of one image."""
    kept: int
    """The same of a distilled step: with the losses on maps and heads."""

    @property
    def checkpoint(self) -> int:
        """A checkpoint of the distillation."""
        return self.student + self.optimizer + self.average


def build_untrained(config: Config) -> FPNDistill:
    """The distillation with random weights: no file of weights is read."""
    spec = ConfigDict(config.model.to_dict())
    spec.update(teacher_ckpt="random", teacher_precision="fp32", init_student=None, inherit=[])
    if config.get("data_preprocessor") and "data_preprocessor" not in spec:
        spec.data_preprocessor = config.data_preprocessor
    model = revert_sync_batchnorm(build_detector(spec))
    model.level_table = ""  # the first step would log it
    return model


def count_teacher(spec: dict, size: Sequence[int], losses: dict[str, dict]) -> TeacherCounts:
    """Build the teacher and count what these losses need."""
    detector, proposals = build_detector(spec).eval(), compared_proposals(losses)

    def with_neck(head: Callable[[tuple[Tensor, ...]], tuple]) -> int:
        """Multiply-adds of backbone, neck and a head on the maps."""

        def forward(images: Tensor) -> tuple:
            maps = tuple(detector.extract_feat(images))
            return maps, head(maps)

        return multiply_adds(detector, *size, forward)

    def roi_head(maps: tuple[Tensor, ...]) -> tuple:
        rois = torch.tensor([[0.0, 0, 0, size[1] / 2, size[0] / 2]]).repeat(proposals, 1)
        outputs = FrozenHeads(detector).roi_head(maps, [rois] * len(stages(detector.roi_head, "bbox_head")))
        return tuple(map(tuple, outputs))

    to_neck = with_neck(lambda maps: ())
    return TeacherCounts(
        to_neck,
        head=with_neck(lambda maps: tuple(dense_head(detector)(maps))) - to_neck if head_passes(losses) else 0,
        roi_head=with_neck(roi_head) - to_neck if proposals else 0,
    )


def head_passes(losses: dict[str, dict]) -> float:
    """Passes through the teacher's dense head in a step with these losses, a forward and a backward being one each.

    One is on the teacher's maps, two are on the student's.
    """
    shares = {last_name(loss["type"]): loss.get("images", 1.0) for loss in losses.values()}
    if "HeadLoss" in shares:
        return 1 + 2 * shares["HeadLoss"]
    return 1.0 if {"OwnHeadLoss", "RoIHeadLoss"} & shares.keys() else 0.0


def compared_proposals(losses: dict[str, dict]) -> int:
    """Proposals of an image for which the teacher's RoI head is compared."""
    options = [loss for loss in losses.values() if last_name(loss["type"]) == "RoIHeadLoss"]
    default = inspect.signature(RoIHeadLoss).parameters["proposals"].default
    return sum(loss.get("proposals", default) for loss in options)


def count_memory(model: FPNDistill, config: Config, size: Sequence[int]) -> Memory:
    """Bytes of a training in float32; the model's weights change.

    Args:
        model: See `build_untrained`.
        config: Its config, for the optimizer and `EMAHook`.
        size: Height and width of the padded image.
    """
    from mmdet.testing import demo_mm_inputs  # here: the rest runs without MMDetection

    halved = any(loss.get("images", 1) < 1 for loss in losses_of(config.model).values())  # of a single image it is all
    images, student = 2 if halved else 1, model.student
    batch = demo_mm_inputs(
        images,
        [(3, *size)] * images,
        num_items=[8] * images,
        num_classes=2,
        with_mask=bool(getattr(getattr(student, "roi_head", None), "with_mask", False)),
    )
    for sample in batch["data_samples"]:
        sample.gt_instances.labels.zero_()  # a detector of one class has no other
    batch = model.train().data_preprocessor(batch, True)
    with kept_for_backward(student) as kept_alone:
        student(**batch, mode="loss")
    with kept_for_backward(model, model.teacher) as kept:
        model(**batch, mode="loss")
    with torch.no_grad():
        maps = model.teacher_maps(batch["inputs"], batch["data_samples"])
    copied = any(last_name(hook["type"]).endswith("EMAHook") for hook in config.get("custom_hooks") or [])
    return Memory(
        student=weights(model),
        student_alone=weights(student),
        gradients=sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad),
        optimizer=optimizer_state(model, config),
        average=weights(model) if copied else 0,
        teacher=weights(model.teacher),
        teacher_maps=sum(m.numel() * m.element_size() for m in maps) // images,
        kept_alone=sum(kept_alone.values()) // images,
        kept=sum(kept.values()) // images,
    )


@contextmanager
def kept_for_backward(*models: nn.Module) -> Iterator[dict[StorageWeakRef, int]]:
    """Count the bytes that autograd would keep of the steps in the context, by storage. They are not kept: what is
    computed here has no backward.

    Args:
        *models: Their weights, which are there anyway, do not count.
    """
    tensors = [tensor for model in models for tensor in model.state_dict(keep_vars=True).values()]
    known = {StorageWeakRef(tensor.untyped_storage()) for tensor in tensors}
    found: dict[StorageWeakRef, int] = {}

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place = StorageWeakRef(storage)  # while it is held, no other storage has its address
        if place not in known:
            found[place] = storage.nbytes()

    def unpack(_: None) -> Tensor:
        raise RuntimeError("kept_for_backward keeps nothing: run no backward in it")

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield found


def weights(model: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def optimizer_state(model: nn.Module, config: Config) -> int:
    """Bytes of the state of the config's optimizer after a step; 0 for a config without one."""
    settings = config.get("optim_wrapper") or {}
    settings = {key: settings[key] for key in ("optimizer", "paramwise_cfg", "constructor") if key in settings}
    if "optimizer" not in settings:
        return 0
    logging.disable(logging.INFO)  # MMEngine logs the options of each parameter
    try:
        optimizer = build_optim_wrapper(model, dict(settings, type="OptimWrapper")).optimizer
    finally:
        logging.disable(logging.NOTSET)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    model.zero_grad(set_to_none=True)
    tensors = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def training_images(config: Config, name: str) -> int:
    """Images of an epoch; those of COCO are known without its file.

    Args:
        config: The config.
        name: Its name, for the messages.

    Raises:
        ValueError: The training set is not one file in COCO's format, or the file is not there.
    """
    datasets, times = all_innermost(config.train_dataloader.dataset), repeats(config.train_dataloader.dataset)
    dataset = datasets[0]
    if len(datasets) > 1 or not str(dataset.get("ann_file", "")).endswith(".json"):
        raise ValueError(f"the training set of {name} is not one file in COCO's format: give --images")
    path = annotation_file(dataset)
    if path.is_file():
        return num_images(dataset) * times
    if path.name == COCO:
        return COCO_IMAGES * times
    raise ValueError(f"there is no annotation file at {str(path)!r} to count the images in: give --images")


def training_size(config: Config, name: str) -> tuple[int, int]:
    """Height and width of the padded images.

    Raises:
        ValueError: The pipeline does not state it.
    """
    size = padded_size(config)
    if size is None:
        raise ValueError(
            f"the pipeline of {name} has no Resize, RandomCrop or Pad with a size: give --size HEIGHT WIDTH"
        )
    return size
