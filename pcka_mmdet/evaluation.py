"""COCO's metric by faster-coco-eval: the same numbers in less time."""

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmengine.fileio import load
from mmengine.logging import MMLogger
from pycocotools.cocoeval import COCOeval
from terminaltables import AsciiTable

from pcka_mmdet.registry import METRICS

PRECISIONS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
RECALLS = ("AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000")
"""What MMDetection calls the values of `COCOeval.stats`, in their order."""


@METRICS.register_module()
class FasterCocoMetric(CocoMetric):
    """MMDetection's `CocoMetric`, evaluated by faster-coco-eval (`pip install faster-coco-eval`).

    The numbers are those of pycocotools. `use_mp_eval` changes nothing.

    Args:
        *args: See `mmdet.evaluation.CocoMetric`.
        **options: See `mmdet.evaluation.CocoMetric`.

    Raises:
        ImportError: faster-coco-eval is not installed.
    """

    def __init__(self, *args: Any, **options: Any):
        if find_spec("faster_coco_eval") is None:
            raise ImportError("FasterCocoMetric: pip install faster-coco-eval, or write type='CocoMetric'")
        super().__init__(*args, **options)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Let `CocoMetric` write the detections and compute `proposal_fast`; compute the rest from the files."""
        logger, values = MMLogger.get_current_instance(), {}
        metrics, outfile_prefix = self.metrics, self.outfile_prefix
        with TemporaryDirectory() as folder:
            prefix = outfile_prefix or str(Path(folder, "results"))
            self.metrics, self.outfile_prefix = [name for name in metrics if name == "proposal_fast"], prefix
            try:
                recalls = super().compute_metrics(results)
            finally:
                self.metrics, self.outfile_prefix = metrics, outfile_prefix
            for metric in () if self.format_only else metrics:
                if metric == "proposal_fast":
                    values |= recalls
                    continue
                logger.info(f"Evaluating {metric}...")
                detections = load(f"{prefix}.{'segm' if metric == 'segm' else 'bbox'}.json")
                if not detections:
                    logger.error("The testing results of the whole dataset is empty.")
                    break
                values |= self._values(metric, self._evaluate(metric, detections), logger)
        return values

    def _evaluate(self, metric: str, detections: list[dict]) -> COCOeval:
        """Match and accumulate; print pycocotools' summary, since faster-coco-eval's takes AP at the largest number of
        detections, not at 100."""
        from faster_coco_eval import COCO, COCOeval_faster

        if metric == "segm":  # otherwise the area would be the box's
            detections = [{key: value for key, value in each.items() if key != "bbox"} for each in detections]
        truth = COCO(self._coco_api.dataset)
        kind = "segm" if metric == "segm" else "bbox"
        evaluation = COCOeval_faster(truth, truth.loadRes(detections), kind, extra_calc=False)
        evaluation.params.catIds, evaluation.params.imgIds = self.cat_ids, self.img_ids
        evaluation.params.maxDets, evaluation.params.iouThrs = list(self.proposal_nums), self.iou_thrs
        evaluation.params.useCats = int(metric != "proposal")
        evaluation.evaluate()
        evaluation.accumulate()
        COCOeval.summarize(evaluation)
        return evaluation

    def _values(self, metric: str, evaluation: COCOeval, logger: MMLogger) -> dict[str, float]:
        """The metric's items by MMDetection's names, to three digits; with `classwise` each class's AP too."""
        stats = dict(zip(PRECISIONS + RECALLS, evaluation.stats, strict=True))
        items = self.metric_items or (RECALLS if metric == "proposal" else PRECISIONS)
        if unknown := [item for item in items if item not in stats]:
            raise KeyError(f'metric item "{unknown[0]}" is not supported')
        if metric == "proposal":
            return {item: round(float(stats[item]), 3) for item in items}
        values = {}
        if self.classwise:
            rows = []
            for index, category in enumerate(self._coco_api.loadCats(self.cat_ids)):
                precisions = _class_precisions(evaluation.eval["precision"][:, :, index])
                values[f"{category['name']}_precision"] = precisions[0]
                rows.append([category["name"], *map(str, precisions)])
            logger.info("\n" + AsciiTable([["category", *PRECISIONS], *rows]).table)
        logger.info(f"{metric}_mAP_copypaste: {' '.join(f'{stats[item]:.3f}' for item in PRECISIONS)}")
        return values | {f"{metric}_{item}": round(float(stats[item]), 3) for item in items}


def _class_precisions(precision: np.ndarray) -> list[float]:
    """AP of a class as in `PRECISIONS`, from `(IoU, recall, size, detections)`; -1 stands for no object."""
    parts = [precision[:, :, 0, -1], precision[0, :, 0, -1], precision[5, :, 0, -1]]
    parts += [precision[:, :, size, -1] for size in (1, 2, 3)]
    valid = [part[part > -1] for part in parts]
    return [round(float(part.mean()), 3) if part.size else float("nan") for part in valid]
