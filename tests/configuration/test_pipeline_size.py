"""The size of images in a pipeline."""

import pytest
from mmengine.config import Config

from pcka_mmdet.configuration.pipeline_size import enlarge_images, padded_size
from tests.detectors import retinanet

PACK = dict(type="PackDetInputs")


def enlarged(*steps: dict, **wrapper) -> list[dict]:
    dataset = dict(type="CocoDataset", pipeline=[dict(type="LoadImageFromFile"), *steps, PACK])
    if wrapper:
        dataset = dict(wrapper, dataset=dataset)
    enlarge_images(dataset, 2)
    return (dataset["dataset"] if wrapper else dataset)["pipeline"][1:-1]


@pytest.mark.parametrize(
    "step, wanted",
    [
        (dict(type="Resize", scale=(320, 240), keep_ratio=True), dict(scale=(640, 480), keep_ratio=True)),
        (dict(type="mmdet.RandomResize", scale=[(320, 240), (400, 300)]), dict(scale=[(640, 480), (800, 600)])),
        (dict(type="RandomChoiceResize", scales=[(320, 240)]), dict(scales=[(640, 480)])),
        (dict(type="FixShapeResize", width=32, height=16), dict(width=64, height=32)),
    ],
)
def test_transforms_that_resize(step, wanted):
    (found,) = enlarged(step)
    assert found == dict(step, **wanted)


def test_transforms_after_it():
    resize = dict(type="Resize", scale=(64, 64))
    steps = [
        (dict(type="RandomCrop", crop_size=(32, 48)), dict(crop_size=(64, 96))),
        (dict(type="RandomCrop", crop_type="relative", crop_size=(0.5, 0.5)), {}),
        (dict(type="Pad", size=(64, 64), pad_val=dict(img=(114, 114, 114))), dict(size=(128, 128))),
        (dict(type="Pad", size_divisor=32), {}),
        (dict(type="CachedMosaic", img_scale=(64, 64), pad_val=114.0), dict(img_scale=(128, 128))),
        (dict(type="RandomShift", max_shift_px=16), dict(max_shift_px=32)),
        (dict(type="FilterAnnotations", min_gt_bbox_wh=(1.5, 2)), dict(min_gt_bbox_wh=(3.0, 4))),
        (dict(type="RandomFlip", prob=0.5), {}),
    ]
    _, *found = enlarged(resize, *(step for step, _ in steps))
    assert found == [dict(step, **wanted) for step, wanted in steps]


def test_pipelines_within_wrappers_and_transforms():
    resize = dict(type="Resize", scale=(64, 64))
    (found,) = enlarged(dict(type="RandomOrder", transforms=[resize]), type="RepeatDataset", times=3)
    assert found["transforms"][0]["scale"] == (128, 128)


def test_images_of_no_set_size_are_refused():
    with pytest.raises(ValueError, match=r"no transform of the pipeline sets their size \(LoadImageFromFile, PackDet"):
        enlarged(dict(type="RandomFlip", prob=0.5))


RTMDET = [
    dict(type="CachedMosaic", img_scale=(640, 640)),
    dict(type="mmdet.RandomResize", scale=(1280, 1280), ratio_range=(0.5, 2.0)),
    dict(type="RandomCrop", crop_size=(640, 640)),
    dict(type="Pad", size=(640, 320), pad_val=dict(img=(114, 114, 114))),
]


@pytest.mark.parametrize(
    "pipeline, expected",
    [
        ([dict(type="Resize", scale=(1333, 800))], (800, 1344)),
        ([dict(type="Resize", scale=640), dict(type="Pad", size_divisor=32)], (640, 640)),
        (RTMDET, (320, 640)),
        (RTMDET[:3], (640, 640)),
        (RTMDET[:2], (1280, 1280)),
        ([dict(type="RandomResize", scale=[(2048, 800), (2048, 1024)])], (1024, 2048)),  # of Cityscapes
        ([dict(type="RandomChoiceResize", scales=[(480, 1333), (800, 1333)])], (800, 1344)),
        ([dict(type="RandomCrop", crop_type="relative_range", crop_size=(0.5, 0.5))], None),
    ],
    ids=["resize", "square", "pad", "crop", "random", "drawn", "chosen", "none"],
)
def test_the_padded_size(pipeline, expected):
    check_padded_size(dict(type="CocoDataset", pipeline=pipeline), expected)


def test_the_padded_size_in_wrappers_and_choices():
    inner = dict(type="CocoDataset", pipeline=[dict(type="LoadImageFromFile")])
    yolox = [dict(type="Mosaic", img_scale=(640, 640)), dict(type="Resize", scale=(640, 480)), dict(type="Pad")]
    check_padded_size(dict(type="MultiImageMixDataset", dataset=inner, pipeline=yolox), (480, 640))
    resize = dict(type="RandomChoiceResize", scales=[(480, 1333), (800, 1333)])
    crop = dict(type="RandomCrop", crop_type="absolute_range", crop_size=(384, 600))
    detr = [dict(type="RandomChoice", transforms=[[resize], [dict(resize, scales=[(400, 4200)]), crop, resize]])]
    check_padded_size(dict(inner, pipeline=detr), (800, 1344))


def check_padded_size(dataset: dict, expected: tuple[int, int] | None) -> None:
    model = dict(retinanet(), data_preprocessor=dict(type="DetDataPreprocessor", pad_size_divisor=32))
    assert padded_size(Config(dict(model=model, train_dataloader=dict(dataset=dataset)))) == expected
