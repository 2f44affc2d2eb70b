"""A one-stage detector as an ONNX file: backbone, neck and head, without decoding and NMS."""

import importlib.util
import inspect
import json
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor

from pcka_mmdet.checkpoints.atomic_write import atomic_write
from pcka_mmdet.checkpoints.config_text import GIVE_CONFIG
from pcka_mmdet.checkpoints.student import read_student
from pcka_mmdet.models.levels import neck_levels
from pcka_mmdet.models.teacher.images import Normalisation, size_divisor


def export_onnx(
    checkpoint: str | Path, target: str | Path, shape: tuple[int, int], config: Config | None = None
) -> list[str]:
    """Write the student of a checkpoint as an ONNX model, atomically.

    Its input `images` is one normalised, padded image `(1, 3, height, width)`. Its outputs are the head's maps, named
    after the arguments of the head's `predict_by_feat` and the stride: `cls_scores_s8`. A map that belongs to no level
    (RTMDet-Ins' `mask_feat`) has the argument's name. Metadata of the model: `config` (the detector's, as text),
    `strides`, `mean`, `std`, `bgr_to_rgb` and `classes` (JSON).

    Args:
        checkpoint: File or URL of a plain MMDetection checkpoint or a distillation's.
        target: The file to write.
        shape: Height and width of the image in pixels.
        config: See `pcka_mmdet.checkpoints.student.read_student`.

    Returns:
        The names of the outputs.

    Raises:
        FileNotFoundError: The checkpoint is missing.
        ImportError: `onnx` or `onnxscript` is not installed.
        ValueError: See `read_student`; or the detector is not a one-stage detector, pads images of that shape, or has
            an operator that torch cannot export.
    """
    from mmdet.models.detectors import SingleStageDetector  # here, as classifiers train without MMDetection

    if not all(map(importlib.util.find_spec, ("onnx", "onnxscript"))):
        raise ImportError("torch exports with the packages onnx and onnxscript: pip install onnx onnxscript")
    content, detector = read_student(str(checkpoint), config)
    if detector is None:
        raise ValueError(f"the student of {str(checkpoint)!r} cannot be read: there is no config in it; {GIVE_CONFIG}")
    if not isinstance(detector, SingleStageDetector):
        raise ValueError(
            f"{str(checkpoint)!r} is a {type(detector).__name__}, and only one-stage detectors (RetinaNet, FCOS, GFL "
            "...) can be exported: use MMDeploy for this one"
        )
    divisor = size_divisor(detector)
    if any(side % divisor for side in shape):
        padded = " ".join(str(side + -side % divisor) for side in shape)
        raise ValueError(f"the detector pads {shape[0]} x {shape[1]} to multiples of {divisor}: give --shape {padded}")
    strides = [level.stride for level in neck_levels(detector)]
    images = torch.zeros(1, 3, *shape)
    with torch.no_grad():
        outputs = detector.eval()(images)  # kind by kind, each from fine to coarse
    names = []
    for argument, maps in zip(inspect.signature(detector.bbox_head.predict_by_feat).parameters, outputs):
        names += [argument] if isinstance(maps, Tensor) else [f"{argument}_s{stride}" for stride in strides]
    try:
        program = torch.onnx.export(
            detector, (images,), dynamo=True, input_names=["images"], output_names=names, verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(f"torch cannot export this {type(detector).__name__}: {error}") from error
    normalisation = Normalisation.of(detector.data_preprocessor)
    program.model.metadata_props.update(
        config=content["meta"]["cfg"],
        strides=json.dumps(strides),
        mean=json.dumps(normalisation.mean),
        std=json.dumps(normalisation.std),
        bgr_to_rgb=json.dumps(normalisation.swaps_channels),
        classes=json.dumps(list(content["meta"].get("dataset_meta", {}).get("classes", []))),
    )
    atomic_write(Path(target), program.model_proto.SerializeToString())
    return names
