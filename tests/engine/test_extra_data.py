"""Batches of labelled and extra images."""

from types import SimpleNamespace

import pytest
from mmengine.dataset import DefaultSampler
from torch.utils.data import BatchSampler

from pcka_mmdet.engine import extra_data
from pcka_mmdet.engine.extra_data import ExtraImagesSampler


def sampler(labelled: int = 10, others: int = 7, batch_size: int = 4, extra: int = 2, **options) -> ExtraImagesSampler:
    dataset = SimpleNamespace(datasets=[range(labelled), range(others)])
    return ExtraImagesSampler(dataset, batch_size, extra, **{"seed": 0, **options})


def epochs(made: ExtraImagesSampler, number: int) -> list[list[int]]:
    found = []
    for epoch in range(number):
        made.set_epoch(epoch)
        found.append(list(made))
    return found


@pytest.mark.parametrize("batch_size, extra", [(4, 2), (4, 1), (8, 7), (2, 1), (32, 16)])
def test_each_batch_has_its_extra_images_after_the_labelled_ones(batch_size, extra):
    made = sampler(batch_size=batch_size, extra=extra)
    for order in epochs(made, 3):
        assert len(order) == len(made)
        for start in range(0, len(order), batch_size):
            kinds = [index >= 10 for index in order[start : start + batch_size]]
            assert kinds == [False] * (batch_size - extra) + [True] * extra


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [2, 4, 32])
def test_an_epoch_has_as_many_batches_as_one_of_the_labelled_images_alone(monkeypatch, batch_size, drop_last):
    for world in (1, 2, 3):
        monkeypatch.setattr(extra_data, "get_dist_info", lambda world=world: (0, world))
        monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda world=world: (0, world))
        made = sampler(batch_size=batch_size, extra=1, drop_last=drop_last)
        batches = [len(list(BatchSampler(one, batch_size, drop_last))) for one in (made, DefaultSampler(range(10)))]
        assert batches[0] == batches[1]


@pytest.mark.parametrize("world", [1, 2])
def test_all_images_of_a_kind_are_seen_before_any_is_seen_again(monkeypatch, world):
    """Over epochs and processes: 10 labelled images, 5 in an epoch; 7 extra ones, likewise."""
    processes = []
    for rank in range(world):
        monkeypatch.setattr(extra_data, "get_dist_info", lambda rank=rank: (rank, world))
        processes.append(epochs(sampler(batch_size=2, extra=1), 14))
    for kind, size in ((0, 10), (1, 7)):
        seen = []
        for epoch in range(14):
            streams = [[i for i in process[epoch] if (i >= 10) == bool(kind)] for process in processes]
            seen += [index for together in zip(*streams, strict=True) for index in together]
        for start in range(0, len(seen) - size + 1, size):
            assert sorted(seen[start : start + size]) == list(range(10 * kind, 10 * kind + size))
        assert len({tuple(seen[start : start + size]) for start in range(0, len(seen) - size + 1, size)}) > 1


def test_an_epoch_is_the_same_after_a_resume_and_with_one_seed():
    assert epochs(sampler(), 3)[2] == epochs(sampler(), 3)[2]
    resumed = sampler()
    resumed.set_epoch(2)
    assert list(resumed) == epochs(sampler(), 3)[2]
    assert list(sampler(seed=1)) != list(sampler(seed=0))


def test_without_shuffling_images_come_in_order():
    assert epochs(sampler(shuffle=False), 2) == [
        [0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15],
        [6, 7, 16, 10, 8, 9, 11, 12, 0, 1, 13, 14],
    ]
