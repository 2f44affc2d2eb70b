"""What a plan takes from a config."""

import argparse
import json

import pytest
from mmengine.config import Config

from pcka_mmdet.cli.plan import compared_proposals, count_student, count_teacher, head_passes, take_from
from tests.detectors import faster_rcnn, retinanet


def arguments(**given):
    names = dict(config="mine.py", batch=2, epochs=1, images=None, size=(64, 64))
    return argparse.Namespace(**names | given)


def config(dataset):
    return Config(dict(train_dataloader=dict(batch_size=2, dataset=dataset), train_cfg=dict(max_epochs=1)))


def test_a_set_that_is_repeated_counts_as_often(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(dict(images=[{}] * 4)))
    args = arguments()
    take_from(config(dict(type="RepeatDataset", times=8, dataset=dict(type="CocoDataset", ann_file=str(path)))), args)
    assert args.images == 32


def test_images_without_boxes_count_as_in_the_training(tmp_path):
    path, args = tmp_path / "train.json", arguments()
    path.write_text(json.dumps(dict(images=[dict(id=i) for i in range(4)], annotations=[dict(image_id=1)])))
    take_from(config(dict(type="CocoDataset", ann_file=str(path), filter_cfg=dict(filter_empty_gt=True))), args)
    assert args.images == 1


@pytest.mark.parametrize(
    "dataset", [dict(type="ConcatDataset", datasets=[]), dict(type="VOCDataset", ann_file="train.txt")]
)
def test_other_sets(dataset):
    with pytest.raises(ValueError, match="the training set of mine.py is not one file in COCO's format: give --images"):
        take_from(config(dataset), arguments())


def test_what_runs_of_a_two_stage_teacher():
    """The RPN, and a RoI head whose cost grows with the proposals that are compared."""
    head, roi = dict(type="pcka_mmdet.HeadLoss", images=0.5), dict(type="pcka_mmdet.RoIHeadLoss")
    assert head_passes(dict(head=head)) == 2.0 and head_passes(dict(roi=roi)) == 1.0 and head_passes({}) == 0.0
    assert compared_proposals(dict(roi=roi)) == 128 and compared_proposals(dict(head=head)) == 0
    few, many, cascade = (
        count_teacher(faster_rcnn(stages), [64, 96], dict(head=head, roi=dict(roi, proposals=number)))
        for stages, number in ((1, 10), (1, 30), (3, 10))
    )
    assert 0 < few.head == many.head and few.roi_head > 0 and many.roi_head == 3 * few.roi_head
    assert 2 * few.roi_head < cascade.roi_head
    dense = count_teacher(retinanet(), [64, 96], dict(head=head))
    assert count_student(retinanet(), [64, 96]).whole == dense.to_neck + dense.head and dense.roi_head == 0
