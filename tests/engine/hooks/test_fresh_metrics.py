"""Metrics of a validation that finds nothing."""

from mmengine.evaluator import BaseMetric, Evaluator

from pcka_mmdet.engine.hooks import FreshMetricsHook
from pcka_mmdet.report.scalars import read_scalars, validation_records
from tests.detectors import distillation
from tests.runners import runner, validation


class Once(BaseMetric):
    """Gives a metric in the first validation alone, as MMDetection's does where later ones detect nothing."""

    validations = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.validations += 1
        return dict(bbox_mAP=0.42) if self.validations == 1 else {}


def test_the_last_metric_is_not_repeated(tmp_path):
    found = {}
    for hooks in ([], [FreshMetricsHook()]):
        settings = validation() | dict(val_evaluator=Evaluator(Once(prefix="coco")))
        run = runner(distillation(), tmp_path / str(len(hooks)), 2, custom_hooks=hooks, **settings)
        run.train()
        records = validation_records(read_scalars(tmp_path / str(len(hooks))))
        found[len(hooks)] = [values["bbox_mAP"] for values in records.values()]
    assert found == {0: [0.42, 0.42], 1: [0.42, 0.0]}
