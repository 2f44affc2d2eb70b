"""What a plan takes from a config."""

import argparse
import json

import pytest
from mmengine.config import Config

from tools.plan import take_from


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
