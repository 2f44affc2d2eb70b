"""What is read of a data set's config, through its wrappers."""

from mmengine.config import Config

from pcka_mmdet.configuration.data_set import all_innermost, innermost, known_classes, repeats

PARTS = [dict(ann_file=f"{name}.json", metainfo=dict(classes=("a", "b"))) for name in "xy"]
JOINED = dict(type="RepeatDataset", times=3, dataset=dict(type="ConcatDataset", datasets=PARTS))


def test_wrappers():
    assert all_innermost(JOINED) == PARTS and innermost(JOINED) == PARTS[0]
    assert innermost(dict(type="RepeatDataset", dataset=PARTS[1])) == PARTS[1]
    assert innermost(PARTS[0]) == PARTS[0] and innermost({}) == {}
    assert repeats(JOINED) == 3


def test_classes_of_several_joined_sets():
    assert known_classes(Config(dict(train_dataloader=dict(dataset=JOINED)))) == ("a", "b")
