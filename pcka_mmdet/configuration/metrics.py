"""Metrics of a validation, found by the end of their names: `coco/bbox_mAP` is `bbox_mAP`."""

from collections.abc import Mapping

METRIC = "bbox_mAP"


def find_metric(metrics: Mapping[str, float] | None, wanted: str = METRIC) -> tuple[str, float] | None:
    """Name and value of the first metric whose name ends with `wanted`; `None` if there is none.

    Without any metric the value is 0: MMDetection gives none if nothing was detected.
    """
    if not metrics:
        return wanted, 0.0
    return next(((name, value) for name, value in metrics.items() if name.endswith(wanted)), None)
