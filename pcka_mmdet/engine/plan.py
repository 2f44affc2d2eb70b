"""The cost of a distillation with random weights: multiply-adds and memory, by the formulas of docs/performance.md."""

import copy
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from pcka_mmdet.configuration.complexity import multiply_adds
from pcka_mmdet.configuration.data_set import all_innermost, annotation_file, repeats
from pcka_mmdet.configuration.detector import build_detector, model_of
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.configuration.pipeline_size import padded_size
from pcka_mmdet.configuration.schedule import num_images
from pcka_mmdet.models import FPNDistill, RoIHeadLoss
from pcka_mmdet.models.detector_parts import dense_head, stages
from pcka_mmdet.models.distillers.terms import read_entries
from pcka_mmdet.models.queries import has_queries
from pcka_mmdet.models.recipes import losses_of
from pcka_mmdet.models.teacher.heads import FrozenHeads
from pcka_mmdet.models.teacher.predictions import MOST

COCO, COCO_IMAGES = "instances_train2017.json", 117_266
"""COCO's training annotations, and the images in them that have boxes."""


@dataclass(frozen=True)
class TeacherCounts:
    """Multiply-adds of the teacher, for one image; 0 for a head that no loss needs."""

    to_neck: int
    head: int  # the dense head, or RPN, or all of a DETR after its neck
    roi_head: int  # for the proposals that are compared
    proposals: int  # of an image, see `compared_proposals`


@dataclass(frozen=True)
class Memory:
    """Bytes that a training holds, by what they are for."""

    student: int  # parameters and buffers, with those of connectors and generators
    student_alone: int  # parameters and buffers of the student
    gradients: int
    optimizer: int  # state of the config's optimizer
    average: int  # EMAHook's copy
    teacher: int  # parameters and buffers
    teacher_maps: int  # of the neck, for one image
    kept_alone: int  # tensors that a step of the undistilled student keeps for its backward, for one image
    kept: int  # the same of a distilled step, with the losses on maps and heads

    @property
    def checkpoint(self) -> int:
        """A checkpoint of the distillation."""
        return self.student + self.optimizer + self.average


def build_untrained(config: Config) -> FPNDistill:
    """The distillation with random weights: no file of weights is read."""
    spec = copy.deepcopy(model_of(config, str(config.filename)))
    spec.update(teacher_ckpt="random", teacher_precision="fp32", init_student=None, inherit=[])
    model = revert_sync_batchnorm(build_detector(spec))
    model.level_table = ""  # the first step would log it
    return model


def count_teacher(detector: BaseModel, size: Sequence[int], losses: dict[str, dict]) -> TeacherCounts:
    """What these losses need of a teacher, which is in eval mode."""
    proposals = compared_proposals(losses, hasattr(detector, "roi_head"))

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

    def to_head() -> int:
        if has_queries(detector):
            return multiply_adds(detector, *size)
        return with_neck(lambda maps: tuple(dense_head(detector)(maps)))

    to_neck = with_neck(lambda maps: ())
    return TeacherCounts(
        to_neck,
        head=to_head() - to_neck if head_passes(losses) else 0,
        roi_head=with_neck(roi_head) - to_neck if proposals else 0,
        proposals=proposals,
    )


def head_passes(losses: dict[str, dict]) -> float:
    """Passes through the teacher's dense head in a step: a forward on the teacher's maps; a forward and a backward on
    the student's."""
    shares = {last_name(loss["type"]): loss.get("images", 1.0) for loss in losses.values()}
    if "HeadLoss" in shares:
        return 1 + 2 * shares["HeadLoss"]
    read = {entry.sources.teacher for entry in read_entries(losses, 1).values()}
    reads_scores = any(loss.get("by_scores") for loss in losses.values())
    runs = reads_scores or "RoIHeadLoss" in shares or read & {"head", "predictions", "queries", "memory"}
    return float(bool(runs))


def compared_proposals(losses: dict[str, dict], of_two_stages: bool = True) -> int:
    """Proposals of an image that pass the teacher's RoI head three times: for `RoIHeadLoss` a forward on the teacher's
    maps, a forward and a backward on the student's. Those of `PredictionLoss` pass once, so a third of them counts."""
    default = inspect.signature(RoIHeadLoss).parameters["proposals"].default
    of_roi_head = [loss for loss in losses.values() if last_name(loss["type"]) == "RoIHeadLoss"]
    reads_boxes = any(last_name(loss["type"]) == "PredictionLoss" for loss in losses.values())
    given = sum(loss.get("proposals", default) for loss in of_roi_head)
    return given + (MOST if of_two_stages and reads_boxes else 0)


def count_memory(model: FPNDistill, config: Config, size: Sequence[int]) -> Memory:
    """Bytes of a training in float32, for images padded to a height and width. Trains the model of `build_untrained`
    for one step of the config's optimizer."""
    from mmdet.testing import demo_mm_inputs  # here: the rest runs without MMDetection

    halved = any(loss.get("images", 1) < 1 for loss in losses_of(config.model).values())  # of a single image it is all
    images, student = 2 if halved else 1, model.student
    with_mask = bool(getattr(getattr(student, "roi_head", None), "with_mask", False))
    shapes = [(3, *size)] * images
    batch = demo_mm_inputs(images, shapes, num_items=[8] * images, num_classes=2, with_mask=with_mask)
    for sample in batch["data_samples"]:
        sample.gt_instances.labels.zero_()  # the only class that every detector has
    batch = model.train().data_preprocessor(batch, True)
    with kept_for_backward(student) as kept_alone:
        student(**batch, mode="loss")
    with kept_for_backward(model, model.teacher) as kept:
        model(**batch, mode="loss")
    with torch.no_grad():
        maps = model.teacher_maps(batch["inputs"], batch["data_samples"])
    averaged = any(last_name(hook["type"]).endswith("EMAHook") for hook in config.get("custom_hooks") or [])
    return Memory(
        student=weights(model),
        student_alone=weights(student),
        gradients=num_bytes(parameter for parameter in model.parameters() if parameter.requires_grad),
        optimizer=optimizer_state(model, config),
        average=weights(model) if averaged else 0,
        teacher=weights(model.teacher),
        teacher_maps=num_bytes(maps) // images,
        kept_alone=sum(kept_alone.values()) // images,
        kept=sum(kept.values()) // images,
    )


@contextmanager
def kept_for_backward(*models: nn.Module) -> Iterator[dict[StorageWeakRef, int]]:
    """Count the bytes that autograd would keep of the steps in the context, by storage, without the models' weights.
    They are not kept, so no backward can follow."""
    tensors = [tensor for model in models for tensor in model.state_dict(keep_vars=True).values()]
    known = {StorageWeakRef(tensor.untyped_storage()) for tensor in tensors}
    kept: dict[StorageWeakRef, int] = {}

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)  # while it is held, no new storage gets its address
        if reference not in known:
            kept[reference] = storage.nbytes()

    def unpack(_: None) -> Tensor:
        raise RuntimeError("kept_for_backward keeps nothing: run no backward in it")

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield kept


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the values of tensors."""
    return sum(tensor.nbytes for tensor in tensors)


def weights(model: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return num_bytes(model.state_dict().values())


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
    states = [value for state in optimizer.state.values() for value in state.values()]
    return num_bytes(value for value in states if isinstance(value, Tensor))


def training_images(config: Config, name: str) -> int:
    """Images of an epoch of the config of that name; a ValueError asks for them where one COCO file does not tell."""
    dataset, *more = all_innermost(config.train_dataloader.dataset)
    if more or not str(dataset.get("ann_file", "")).endswith(".json"):
        raise ValueError(f"the training set of {name} is not one file in COCO's format: give --images")
    path, times = annotation_file(dataset), repeats(config.train_dataloader.dataset)
    if path.is_file():
        return num_images(dataset) * times
    if path.name == COCO:
        return COCO_IMAGES * times
    raise ValueError(f"there is no annotation file at {str(path)!r} to count the images in: give --images")


def training_size(config: Config, name: str) -> tuple[int, int]:
    """Height and width of the padded images; a ValueError asks for them where the pipeline does not tell."""
    if size := padded_size(config):
        return size
    raise ValueError(f"the pipeline of {name} has no Resize, RandomCrop or Pad with a size: give --size HEIGHT WIDTH")
