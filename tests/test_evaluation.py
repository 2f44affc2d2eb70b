"""`FasterCocoMetric` says what `CocoMetric` says."""

import json

import numpy as np
import pycocotools.mask
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import METRICS, init_default_scope

from pcka_mmdet.checkpoints.student import student_config
from tests.detectors import distillation

CLASSES = ("cup", "bowl")
SIDE = 200


def boxes(generator, count):
    """Boxes of all three of COCO's sizes, (left, top, right, bottom)."""
    corner = torch.rand(count, 2, generator=generator) * 80
    return torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * 115], dim=1)


def mask(box):
    image = np.zeros((SIDE, SIDE), dtype=np.uint8, order="F")
    left, top, right, bottom = box.int().tolist()
    image[top:bottom, left:right] = 1
    return image


def rle(box):
    encoded = pycocotools.mask.encode(mask(box))
    return dict(encoded, counts=encoded["counts"].decode())


@pytest.fixture
def scene(tmp_path):
    """An annotation file of six images, and detections: objects a little moved, and false ones."""
    generator = torch.Generator().manual_seed(0)
    annotations, samples = [], []
    for image in range(6):
        truth = boxes(generator, 5)
        for i, box in enumerate(truth):
            width, height = (box[2:] - box[:2]).tolist()
            entry = dict(bbox=[*box[:2].tolist(), width, height], area=width * height, segmentation=rle(box))
            entry |= dict(id=10 * image + i + 1, image_id=image, category_id=i % 2 + 1, iscrowd=int(i == 4))
            annotations.append(entry)
        detected = torch.cat([truth + 4 * torch.randn(5, 4, generator=generator), boxes(generator, 3)])
        masks = torch.from_numpy(np.stack([mask(box) for box in detected])).bool()
        labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
        instances = dict(bboxes=detected, scores=torch.rand(8, generator=generator), labels=labels, masks=masks)
        samples.append(dict(img_id=image, ori_shape=(SIDE, SIDE), pred_instances=instances))
    images = [dict(id=image, width=SIDE, height=SIDE, file_name=f"{image}.png") for image in range(6)]
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories, info={})))
    return path, samples


def evaluate(kind, path, samples, **options):
    metric = METRICS.build(dict(type=kind, ann_file=str(path), **options))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


@pytest.mark.parametrize(
    "options",
    [
        dict(metric=["bbox", "segm"], classwise=True),
        dict(metric="proposal"),
        dict(metric="proposal_fast", proposal_nums=(1, 3, 5)),
        dict(metric=["bbox", "proposal"], metric_items=["mAP_50", "AR@300"]),
        dict(metric="bbox", proposal_nums=(1, 3, 5)),
        dict(metric="bbox", use_mp_eval=True),
    ],
    ids=str,
)
def test_the_numbers_are_pycocotools(scene, options):
    expected = evaluate("mmdet.CocoMetric", *scene, **options | dict(use_mp_eval=False))
    assert evaluate("pcka_mmdet.FasterCocoMetric", *scene, **options) == pytest.approx(expected, nan_ok=True)
    assert any(0 < value < 1 for value in expected.values())


def test_the_table_is_pycocotools(scene, capsys):
    tables = []
    for kind in ("mmdet.CocoMetric", "pcka_mmdet.FasterCocoMetric"):
        evaluate(kind, *scene)
        tables.append([line for line in capsys.readouterr().out.splitlines() if "] = " in line])
    assert tables[0] == tables[1] and len(tables[0]) == 12


def test_more_detections_than_ap_counts(scene):
    """AP counts the 100 best of an image; with a box 150 times, false detections push true ones out."""
    path, samples = scene
    for sample in samples:
        detected = sample["pred_instances"]
        for key in ("bboxes", "labels", "masks"):
            detected[key] = torch.cat([detected[key], detected[key][-1:].expand(150, *detected[key].shape[1:])])
        detected["scores"] = torch.cat([detected["scores"], torch.linspace(0.2, 0.9, 150)])
    expected = evaluate("mmdet.CocoMetric", path, samples)
    assert evaluate("pcka_mmdet.FasterCocoMetric", path, samples) == pytest.approx(expected, nan_ok=True)


def test_nothing_detected_and_files_alone(scene, tmp_path):
    """As with CocoMetric there are no values then; the file of the detections stays where it is asked for."""
    path, samples = scene
    prefix = tmp_path / "detections" / "results"
    prefix.parent.mkdir()
    options = dict(format_only=True, outfile_prefix=str(prefix))
    assert evaluate("pcka_mmdet.FasterCocoMetric", path, samples, **options) == {}
    assert len(json.loads(prefix.with_name("results.bbox.json").read_text())) == 48
    for sample in samples:
        sample["pred_instances"] = {key: value[:0] for key, value in sample["pred_instances"].items()}
    assert evaluate("pcka_mmdet.FasterCocoMetric", path, samples) == {} == evaluate("mmdet.CocoMetric", path, samples)


def test_without_the_package(scene, monkeypatch):
    monkeypatch.setattr("pcka_mmdet.evaluation.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install faster-coco-eval, or write type='CocoMetric'"):
        evaluate("pcka_mmdet.FasterCocoMetric", *scene)


def test_the_students_config_names_mmdetections_metric():
    init_default_scope("mmdet")
    evaluator = dict(type="pcka_mmdet.FasterCocoMetric", ann_file="a.json")
    config = Config(dict(model=distillation(), val_evaluator=evaluator, test_evaluator=[evaluator]))
    plain = student_config(config)
    assert plain.val_evaluator.type == plain.test_evaluator[0].type == "CocoMetric"
