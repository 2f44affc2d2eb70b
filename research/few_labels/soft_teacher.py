"""MMDetection's SoftTeacher on a set of few labels: what a user would take in place of a distillation."""

import copy
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.nested import last_name

MMDETECTION = "mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py"


def soft_teacher(config: Config, images: str, share: float, momentum: float) -> None:
    """Turn a student's config into its SoftTeacher's, in place.

    Settings are MMDetection's. Of the student are the detector, the labelled images' pipeline, the size of images,
    their flips, and the schedule. The averaged model, which is tested, averages the batch norms too: these train.

    Args:
        config: The student's.
        images: The images without labels, as `FILE:FOLDER`.
        share: Their share of a batch.
        momentum: Share of the student in the averaged model at each step.
    """
    theirs, detector, loader = load_config(MMDETECTION), config.model, config.train_dataloader
    model = theirs.model
    model.update(detector=detector)
    model.data_preprocessor.data_preprocessor = detector.data_preprocessor
    config.model = model
    labelled, (file, _, folder) = loader.dataset, images.rpartition(":")
    own = {last_name(step["type"]): step for step in labelled.pipeline}
    unlabelled = copy.deepcopy(theirs.unlabeled_dataset)
    unlabelled.update(ann_file=file, data_root="", data_prefix=dict(img=folder), metainfo=labelled.metainfo)
    unlabelled.pipeline = _with(unlabelled.pipeline, dict(RandomResize=own["Resize"], RandomFlip=own["RandomFlip"]))
    *steps, packing = labelled.pipeline
    branches = dict(type="MultiBranch", branch_field=theirs.branch_field, sup=packing)
    labelled.pipeline = [*steps, branches]
    loader.dataset = dict(
        type="pcka_mmdet.LabelledAndExtraImages", datasets=[labelled, unlabelled], ignore_keys=["dataset_type"]
    )
    extra = round(loader.batch_size * share)
    loader.sampler = dict(type="pcka_mmdet.ExtraImagesSampler", batch_size=loader.batch_size, extra=extra)
    config.custom_hooks = [
        *(config.get("custom_hooks") or []),
        dict(type="MeanTeacherHook", momentum=momentum, skip_buffer=False),
    ]


def _with(pipeline: Any, replacements: dict[str, dict]) -> Any:
    """A pipeline with some of its transforms replaced, those inside of others too."""
    if isinstance(pipeline, list):
        return [_with(step, replacements) for step in pipeline]
    if not isinstance(pipeline, dict):
        return pipeline
    if (replaced := replacements.get(last_name(pipeline.get("type")))) is not None:
        return copy.deepcopy(replaced)
    return {key: _with(value, replacements) for key, value in pipeline.items()}
