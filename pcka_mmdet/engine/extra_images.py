"""Extra images in a training: with boxes of a teacher, or without labels, for the distillation alone."""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.checkpoints.atomic_write import atomic_write
from pcka_mmdet.configuration.data_set import innermost, known_classes
from pcka_mmdet.configuration.distillation import is_distillation, is_fpn_distill, student_model, teachers_of
from pcka_mmdet.configuration.images import ImageSet, read_images
from pcka_mmdet.configuration.nested import last_name, walk
from pcka_mmdet.models.distillers.terms import read_entries
from pcka_mmdet.models.recipes import losses_of
from pcka_mmdet.models.sources import OF_ALL_IMAGES

from .checks.annotations import DataSet, label_order
from .checks.entries import refuse_entries
from .checks.leaks import refuse_leaks

IGNORE_FROM = 0.5
"""Share of an anchor within an ignored box from which it is ignored; of `ignore_iof_thr` of MMDetection's assigners."""

IGNORING_BY_SHARE = ("MaxIoUAssigner", "ApproxMaxIoUAssigner", "ATSSAssigner")
"""MMDetection's assigners that ignore anchors in ignored boxes if `ignore_iof_thr` is set."""

IGNORING = (*IGNORING_BY_SHARE, "CenterRegionAssigner")
"""All that ignore such anchors."""

SAMPLERS = ("DefaultSampler", "InfiniteSampler")
"""Samplers whose order `ExtraImagesSampler` can replace."""


@dataclass(frozen=True)
class Extra:
    """What the log says of the extra images."""

    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def add_extra_images(config: Config, source: str | Path | None, share: float = 0.5) -> Extra:
    """Let a share of each batch be extra images. The number of iterations stays.

    Args:
        config: Of a training; it is changed.
        source: Images with boxes, as `FILE.json:FOLDER`, or a folder or list of images without labels. `None`: none.
        share: Share of the extra images in a batch. With 0 nothing changes.

    Raises:
        FileNotFoundError: A file or an image is missing.
        ValueError: The images are those of val or test, or have no known class; the images have no labels and there is
            no distillation; boxes have no masks and the student needs them; or a batch is too small for the share.
    """
    if source is None or share == 0:
        return Extra()
    number = _number_in_batch(config, share)
    images, classes = read_images(str(source)), label_order(config)
    if classes is None:
        raise ValueError("--extra needs the student's classes: set train_dataloader.dataset.metainfo.classes")
    doubts = refuse_leaks(config, images)
    content, of_classes = _content(images, classes)
    doubts += of_classes
    if boxes := content["annotations"]:
        doubts += _fit_to_boxes(config, images, boxes)
    else:
        doubts += _refuse_unread(config, images)
    doubts += _mix(config, _extra_data_set(config, _write(config, content), images.root, bool(boxes)), number)
    what = "with boxes" if boxes else "without labels, for the distillation alone"
    note = (
        f"a step of each process has {config.train_dataloader.batch_size - number} labelled and {number} extra images: "
        f"{len(images.entries)} {what} ({images.source})"
    )
    return Extra([note], doubts)


def _number_in_batch(config: Config, share: float) -> int:
    """Number of extra images in a batch, if the batches of the training can have some."""
    loader, batch_size = config.train_dataloader, config.train_dataloader.batch_size
    number = round(batch_size * share)
    if not 0 < number < batch_size:
        raise ValueError(
            f"--extra-share {share:g} of a batch of {batch_size} is {number} images: a batch needs labelled and extra "
            "images; set train_dataloader.batch_size or --extra-share"
        )
    if (kind := last_name((loader.get("sampler") or {}).get("type", SAMPLERS[0]))) not in SAMPLERS:
        raise ValueError(f"--extra mixes the images itself, and the training has a {kind}: leave the sampler out")
    return number


def _fit_to_boxes(config: Config, images: ImageSet, boxes: Sequence[dict]) -> list[str]:
    """Refuse boxes without masks if the student needs them, and let it ignore unsure boxes; doubts."""
    without = sum(not box.get("segmentation") for box in boxes)
    if without and any(key == "with_mask" and value for key, value in walk(config.train_dataloader.dataset)):
        raise ValueError(
            f"the student trains on masks, and {without} boxes of {images.source!r} have none: take a student of "
            "boxes, or with --teacher the images without boxes"
        )
    return _ignore_crowds(config) if any(box["iscrowd"] for box in boxes) else []


def _mix(config: Config, extra: dict, number: int) -> list[str]:
    """Join the labelled and the extra data set, with so many extra images in each batch; doubts."""
    loader, doubts = config.train_dataloader, []
    if grouped := loader.pop("batch_sampler", None):
        loader.drop_last = grouped.get("drop_last", False)
        doubts.append("batches are not grouped by aspect ratio: each has its share of extra images")
    loader.dataset = dict(
        type="pcka_mmdet.LabelledAndExtraImages",
        datasets=[loader.dataset, extra],
        ignore_keys=["dataset_type", "task_name", "palette", "cumulative_sizes", "classes"],  # a list is no tuple
    )
    loader.sampler = dict(
        type="pcka_mmdet.ExtraImagesSampler",
        batch_size=loader.batch_size,
        extra=number,
        shuffle=(loader.get("sampler") or {}).get("shuffle", True),
        drop_last=loader.get("drop_last", False),
    )
    return doubts


def _refuse_unread(config: Config, images: ImageSet) -> list[str]:
    """Refuse images without labels if no loss reads them. Losses that do not are a doubt, if others do."""
    if not is_fpn_distill(config):
        raise ValueError(
            f"{images.source!r} has no boxes, so it is for a distillation alone: give --teacher, or label the images "
            "first by pcka-mmdet pseudo-label"
        )
    entries = read_entries(losses_of(config.model), len(teachers_of(config.model)))
    unread = sorted({entry.given for entry in entries.values() if entry.sources.student not in OF_ALL_IMAGES})
    if unread and len(unread) == len(entries):
        raise ValueError(
            f"{images.source!r} has no boxes, and the losses {unread} read labelled images alone, as a RoI head and a "
            "decoder do: label the images first by pcka-mmdet pseudo-label, or give --recipe maps"
        )
    return [f"the losses {unread} read labelled images alone"] if unread else []


def _content(images: ImageSet, classes: Sequence[str]) -> tuple[dict, list[str]]:
    """An annotation file of the images with the student's classes, matched by name; and doubts."""
    given = {} if images.annotations is None else json.loads(images.annotations.read_text())
    ids = {name: number for number, name in enumerate(classes, 1)}
    doubts: list[str] = []
    boxes = [{"id": i, "area": 0.0, "iscrowd": 0, **box} for i, box in enumerate(given.get("annotations", []), 1)]
    if boxes:
        refuse_entries(dict(given, annotations=boxes), images.annotations)
    names = {str(category["id"]): category["name"] for category in given.get("categories", [])} if boxes else {}
    image_ids = {str(entry["id"]): entry["id"] for entry in images.entries}
    if boxes and not set(names.values()) & set(classes):
        raise ValueError(
            f"the extra images have the classes {list(names.values())}, and the student {list(classes)}: none is in "
            "both"
        )
    if boxes and (lacking := [name for name in classes if name not in names.values()]):
        doubts.append(f"the extra images have no boxes of {lacking}: such objects are background there")
    if boxes and (others := [name for name in names.values() if name not in classes]):
        doubts.append(f"the student has no {others}: their boxes on extra images are left out")
    kept = [
        {
            **box,
            "image_id": image_ids[str(box["image_id"])],
            "category_id": ids[names[str(box["category_id"])]],
            "area": box["area"] or box["bbox"][2] * box["bbox"][3],
        }
        for box in boxes
        if names[str(box["category_id"])] in ids
    ]
    if boxes and not kept:
        raise ValueError(f"none of the {len(boxes)} boxes of {images.source!r} is of a class of the student")
    categories = [dict(id=number, name=name) for name, number in ids.items()]
    return dict(images=images.entries, annotations=kept, categories=categories), doubts


def _write(config: Config, content: dict) -> Path:
    """The content as a file in the work directory, named by its digest, so that each resume finds its own."""
    text = json.dumps(content).encode()
    path = Path(config.work_dir, f"extra_{hashlib.sha256(text).hexdigest()[:12]}.json").resolve()
    if not path.is_file():
        atomic_write(path, text)
    return path


def _extra_data_set(config: Config, file: Path, root: Path, has_boxes: bool) -> dict:
    """The first labelled data set, with its pipeline and wrappers, on the extra images."""
    extra = _first_part(copy.deepcopy(config.train_dataloader.dataset))
    inner = innermost(extra)
    if not DataSet("train_dataloader", file, inner, config.get("default_scope")).reads_as_coco:
        inner["type"] = "mmdet.CocoDataset"
    for key in ("indices", "filter_cfg", "backend_args", "ann_subdir", "img_subdir"):
        inner.pop(key, None)
    inner.update(ann_file=str(file), data_root="", data_prefix=dict(img=str(root.resolve())))
    # names in the order of the config, as those of the labelled images; the file's order numbers the labels
    inner["metainfo"] = {**(inner.get("metainfo") or {}), "classes": known_classes(config)}
    if not has_boxes:
        _packing_pipeline(extra).append(dict(type="pcka_mmdet.MarkUnlabelled"))
        for _, step in walk(extra):
            if isinstance(step, dict) and last_name(step.get("type")) == "RandomCrop":
                step["allow_negative_crop"] = True  # else it wants a box, and gives none of these images
    return extra


def _first_part(dataset: dict) -> dict:
    """A data set, in its wrappers, with only the first of the data sets that a `ConcatDataset` joins."""
    if "datasets" in dataset:
        return _first_part(dataset["datasets"][0])
    if "dataset" in dataset:
        dataset["dataset"] = _first_part(dataset["dataset"])
    return dataset


def _packing_pipeline(dataset: dict) -> list:
    """The pipeline that ends with the packing: the outermost one, of a wrapper such as `MultiImageMixDataset`."""
    if "pipeline" in dataset and last_name(dataset["pipeline"][-1]["type"]).startswith("Pack"):
        return dataset["pipeline"]
    if "dataset" not in dataset:
        raise ValueError("the training pipeline does not end with PackDetInputs: its samples cannot be marked")
    return _packing_pipeline(dataset["dataset"])


def _ignore_crowds(config: Config) -> list[str]:
    """Let the assigners ignore anchors in unsure boxes. To those that cannot these are background: a doubt."""
    student = student_model(config)
    if is_distillation(config):
        config.model.architecture = student  # `student_model` gives a copy
    nodes = [node for key, node in walk(student) if str(key).endswith("assigner") and isinstance(node, dict)]
    assigners = {last_name(node["type"]) for node in nodes}
    for node in nodes:
        if last_name(node["type"]) in IGNORING_BY_SHARE and node.get("ignore_iof_thr", -1) <= 0:
            node["ignore_iof_thr"] = IGNORE_FROM
    names = sorted(assigners - set(IGNORING)) or ([] if assigners else ["no assigner"])
    return [
        f"the student has {name}, which ignores no box: to it, unsure boxes of the extra images are background. "
        "pcka-mmdet pseudo-label --threshold writes none"
        for name in names
    ]
