"""The same config for longer or shorter."""

import json

import pytest
from mmengine.config import Config

from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.configuration.schedule import set_epochs, training_iterations


def config() -> Config:
    return Config(
        dict(
            max_epochs=20,
            train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=20),
            param_scheduler=[
                dict(type="OneCycleLR", total_steps=20, by_epoch=True),
                dict(type="MultiStepLR", milestones=[10, 15], end=20),
                dict(type="LinearLR", by_epoch=False, begin=0, end=500),
            ],
            custom_hooks=[dict(type="mmrazor.StopDistillHook", stop_epoch=7)],
        )
    )


def test_schedules_keep_their_shape():
    longer = config()
    set_epochs(longer, 60)
    assert longer.train_cfg.max_epochs == longer.max_epochs == 60
    cycle, steps, warmup = longer.param_scheduler
    assert cycle.total_steps == 60
    assert steps.milestones == [30, 45]
    assert steps.end == 60
    assert warmup.end == 500, "iterations stay iterations"
    assert longer.custom_hooks[0].stop_epoch == 21


def test_a_schedule_that_begins_later_does_so_in_the_same_share():
    shorter = config()
    shorter.param_scheduler.append(dict(type="CosineAnnealingLR", begin=10, end=20, T_max=10, by_epoch=True))
    shorter.param_scheduler.append(dict(type="ConstantLR", begin=0, end=20, by_epoch=True))
    shorter.custom_hooks.append(dict(type="PipelineSwitchHook", switch_epoch=16))
    shorter.custom_hooks.append(dict(type="pcka_mmdet.LossScheduleHook", ramp=500, stop=9000))
    set_epochs(shorter, 10)
    *_, cosine, constant = shorter.param_scheduler
    assert [cosine[key] for key in ("begin", "end", "T_max")] == [5, 10, 5] and constant["begin"] == 0
    _, switch, schedule = shorter.custom_hooks
    assert [switch["switch_epoch"], schedule["ramp"], schedule["stop"]] == [8, 500, 4500]


def test_one_epoch_is_enough():
    short = config()
    set_epochs(short, 1)
    assert short.param_scheduler[0].total_steps == 1
    assert short.custom_hooks[0].stop_epoch == 1


def test_zero_epochs_are_refused():
    with pytest.raises(ValueError, match="epochs=0 should be at least 1; write for instance epochs=20"):
        set_epochs(config(), 0)


@pytest.mark.parametrize(("dataset", "expected"), [({}, 6), (dict(filter_cfg=dict(filter_empty_gt=True)), 2)])
def test_iterations(tmp_path, dataset, expected):
    content = {"images": [{"id": number} for number in range(9)], "annotations": [{"image_id": 0}, {"image_id": 1}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    loader = dict(batch_size=4, dataset=dict(data_root=str(tmp_path), ann_file="train.json", **dataset))
    assert training_iterations(Config(dict(train_dataloader=loader, train_cfg=dict(max_epochs=2)))) == expected


def test_repeated_data_count_repeatedly(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"images": [{"id": 0}, {"id": 1}], "annotations": []}))
    inner = dict(data_root=str(tmp_path), ann_file="train.json")
    dataset = dict(type="RepeatDataset", times=5, dataset=inner)
    assert annotation_file(dataset) == tmp_path / "train.json"
    loader = dict(batch_size=4, dataset=dataset)
    assert training_iterations(Config(dict(train_dataloader=loader, train_cfg=dict(max_epochs=1)))) == 3
