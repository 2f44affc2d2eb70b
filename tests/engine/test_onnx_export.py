"""The ONNX file gives what the detector gives."""

import itertools
import json

import onnxruntime
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from pcka_mmdet.engine.onnx_export import export_onnx
from tests.detectors import NUM_CLASSES, build, distillation, faster_rcnn, retinanet, rtmdet

SHAPE = 64, 96


def save(path, model, config, **meta):
    classes = [f"class{i}" for i in range(NUM_CLASSES)]
    meta = dict(cfg=Config(dict(model=config)).pretty_text, dataset_meta=dict(classes=classes), **meta)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


def test_onnx_runtime_gives_the_maps_and_detections_of_a_distilled_student(tmp_path):
    config, kinds = retinanet(), ["cls_scores", "bbox_preds"]
    config["test_cfg"] = dict(nms_pre=50, score_thr=0.0, nms=dict(type="nms", iou_threshold=0.5), max_per_img=10)
    config = distillation(architecture=config)
    distilled = build(config).eval()
    names = export_onnx(save(tmp_path / "epoch_1.pth", distilled, config), tmp_path / "student.onnx", SHAPE)
    assert names == [f"{kind}_s{stride}" for kind in kinds for stride in (8, 16, 32, 64)]

    session, model = onnxruntime.InferenceSession(tmp_path / "student.onnx"), distilled.student
    images = torch.randn(1, 3, *SHAPE)
    maps = [torch.from_numpy(m) for m in session.run(names, {"images": images.numpy()})]
    for output, expected in zip(maps, itertools.chain(*model(images)), strict=True):
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)

    # what a user does with them: decoding and NMS by the head
    sample = DetDataSample(metainfo=dict(img_shape=SHAPE, scale_factor=(1.0, 1.0)))
    detections = model.bbox_head.predict_by_feat(
        **{kind: maps[4 * i : 4 * i + 4] for i, kind in enumerate(kinds)}, batch_img_metas=[sample.metainfo]
    )[0]
    expected = model.predict(images, [sample], rescale=False)[0].pred_instances
    assert len(detections) == len(expected) == 10
    torch.testing.assert_close(detections.bboxes, expected.bboxes, rtol=1e-4, atol=1e-3)
    assert torch.equal(detections.labels, expected.labels)

    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["classes"]) == ["class0", "class1"] and json.loads(meta["strides"]) == [8, 16, 32, 64]
    assert json.loads(meta["mean"]) == [120, 115, 105] and json.loads(meta["bgr_to_rgb"]) is True


def test_a_map_that_belongs_to_no_level(tmp_path):
    """Of a plain checkpoint."""
    config = rtmdet()
    config["bbox_head"] |= dict(type="RTMDetInsSepBNHead", loss_mask=dict(type="DiceLoss", use_sigmoid=True, eps=5e-6))
    del config["bbox_head"]["exp_on_reg"]
    model = build(config).eval()
    names = export_onnx(save(tmp_path / "masks.pth", model, config), tmp_path / "masks.onnx", SHAPE)
    levels = [f"{kind}_s{s}" for kind in ("cls_scores", "bbox_preds", "kernel_preds") for s in (8, 16, 32, 64)]
    assert names == [*levels, "mask_feat"]
    session, images = onnxruntime.InferenceSession(tmp_path / "masks.onnx"), torch.randn(1, 3, *SHAPE)
    masks = torch.from_numpy(session.run(["mask_feat"], {"images": images.numpy()})[0])
    torch.testing.assert_close(masks, model(images, mode="tensor")[3], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_exported(tmp_path):
    model = build(retinanet())
    whole = save(tmp_path / "whole.pth", model, retinanet())
    with pytest.raises(ValueError, match="the detector pads 60 x 96 to multiples of 32: give --shape 64 96"):
        export_onnx(whole, tmp_path / "whole.onnx", (60, 96))
    with pytest.raises(
        ValueError,
        match="cannot be read: the stored config and weights do not match: backbone.conv1.weight: s",
    ):
        export_onnx(save(tmp_path / "wide.pth", model, retinanet(width=16)), tmp_path / "out.onnx", SHAPE)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / "bare.pth")
    with pytest.raises(ValueError, match="cannot be read: there is no config in it"):
        export_onnx(tmp_path / "bare.pth", tmp_path / "out.onnx", SHAPE)
    with pytest.raises(FileNotFoundError, match=r"none\.pth' does not exist"):
        export_onnx(tmp_path / "none.pth", tmp_path / "out.onnx", SHAPE)
    assert not (tmp_path / "out.onnx").exists()


def test_two_stage_detectors_are_refused(tmp_path):
    two_stage = faster_rcnn()
    checkpoint = save(tmp_path / "two.pth", build(two_stage), two_stage)
    with pytest.raises(ValueError, match="is a FasterRCNN, and only one-stage detectors"):
        export_onnx(checkpoint, tmp_path / "out.onnx", SHAPE)
