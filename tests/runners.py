"""Runs of MMEngine's Runner on a data set in memory."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import Runner
from torch import nn

from pcka_mmdet.engine.runner import build_runner
from tests.detectors import raw_batch


class RandomScenes(BaseDataset):
    """Six random images of 64x64 with boxes, the same in every process."""

    def __init__(self, size: int = 6):
        self.items = [raw_batch((64, 64)) for _ in range(size)]
        self._metainfo = dict(classes=("a", "b"))

    def full_init(self) -> None:
        """Nothing is left to load where a runner builds it from a config."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        item = self.items[index]
        return dict(inputs=item["inputs"][0], data_samples=item["data_samples"][0].clone())


class MeanScore(BaseMetric):
    """The mean score of all detections, and its negative, so that the best epochs of the two are the extremes."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        self.results += [sample["pred_instances"]["scores"].mean().item() for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        mean = sum(results) / len(results)
        return dict(score=mean, doubt=-mean)


def validation() -> dict[str, Any]:
    """Options of `runner` that make it validate after each epoch."""
    sampler = dict(type="DefaultSampler", shuffle=False)
    loader = dict(dataset=RandomScenes(4), batch_size=2, sampler=sampler, num_workers=0)
    return dict(val_dataloader=loader, val_cfg=dict(), val_evaluator=Evaluator(MeanScore()))


def training(model: dict | nn.Module, work_dir: Any, epochs: int, dataset: Any) -> dict[str, Any]:
    """Options of a runner: epochs of three steps, AdamW, seed 0."""
    return dict(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=dataset,
            batch_size=2,
            sampler=dict(type="DefaultSampler", shuffle=True),
            num_workers=0,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        default_scope="mmdet",
        randomness=dict(seed=0),
        log_level="WARNING",
        experiment_name=str(work_dir).replace("/", "_"),
    )


def runner(model: dict | nn.Module, work_dir: Any, epochs: int = 1, **options: Any) -> Runner:
    """A Runner that trains `epochs` epochs of three steps, AdamW, seed 0."""
    own = dict(default_hooks=dict(logger=dict(type="LoggerHook", interval=1)))
    return Runner(**{**training(model, work_dir, epochs, RandomScenes()), **own, **options})


def flexible_runner(model: dict, work_dir: Any, epochs: int = 1, **options: Any) -> Runner:
    """The same by MMEngine's FlexibleRunner, from a config."""
    own = dict(runner_type="FlexibleRunner", strategy=dict(type="SingleDeviceStrategy"), env_cfg=dict())
    config = {**training(model, work_dir, epochs, dict(type="tests.runners.RandomScenes")), **own}
    return build_runner(Config({**config, **options}))
