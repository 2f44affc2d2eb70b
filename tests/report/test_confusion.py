"""Confusion matrices, against MMDetection's tool."""

import importlib.util
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch

from pcka_mmdet.report.confusion import confusion_figure, confusion_matrix
from pcka_mmdet.report.predictions import Boxes

TOOL = Path(mmdet.__file__).parent / ".mim" / "tools" / "analysis_tools" / "confusion_matrix.py"


def boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    corners = torch.randint(0, 60, (count, 2), generator=generator).float()
    return torch.cat([corners, corners + torch.randint(15, 45, (count, 2), generator=generator)], 1)


def random_case(images: int = 20, classes: int = 3) -> tuple[dict[int, Boxes], list[dict]]:
    generator = torch.Generator().manual_seed(0)
    truth, predictions = {}, []
    for number in range(images):
        true = boxes(4, generator)
        labels = torch.randint(classes, (4,), generator=generator)
        truth[number] = Boxes(true.tolist(), labels.tolist())
        found = torch.cat([true + torch.randint(-6, 6, true.shape, generator=generator), boxes(3, generator)])
        kinds = torch.cat([labels, torch.randint(classes, (3,), generator=generator)])
        kinds[0] = (kinds[0] + 1) % classes
        scores = torch.rand(7, generator=generator).sort(descending=True).values
        predictions.append(dict(img_id=number, pred_instances=dict(bboxes=found, labels=kinds, scores=scores)))
    return truth, predictions


class Dataset:
    metainfo = dict(classes=("a", "b", "c"))

    def __init__(self, truth):
        self.truth = truth

    def __len__(self):
        return len(self.truth)

    def get_data_info(self, index):
        true = self.truth[index]
        return dict(instances=[dict(bbox=b, bbox_label=c) for b, c in zip(true.boxes, true.labels, strict=True)])


@pytest.mark.skipif(not TOOL.is_file(), reason="this MMDetection comes without its tools")
def test_equals_mmdetections_tool():
    spec = importlib.util.spec_from_file_location("mmdets_confusion_matrix", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    truth, predictions = random_case()
    expected = tool.calculate_confusion_matrix(Dataset(truth), predictions, score_thr=0.3)
    found = confusion_matrix(truth, predictions, 3)
    assert np.array_equal(found, expected) and (found > 0).sum() > 12


def test_counted_by_hand():
    """A right one, one of another class, a missed object, a detection of nothing, and one below the threshold."""
    truth = {7: Boxes([[0, 0, 10, 10], [50, 50, 60, 60], [80, 80, 90, 90]], [0, 0, 1])}
    found = torch.tensor([[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 30, 30], [80, 80, 90, 90]]).float()
    instances = dict(bboxes=found, labels=torch.tensor([0, 1, 1, 1]), scores=torch.tensor([0.9, 0.8, 0.7, 0.2]))
    matrix = confusion_matrix(truth, [dict(img_id=7, pred_instances=instances)], 2)
    assert matrix.tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 0]]


def test_a_crowd_is_no_object():
    truth = {7: Boxes([[0, 0, 10, 10]], [0], crowds=[(1, [40, 40, 90, 90])])}
    found = torch.tensor([[0, 0, 10, 10], [50, 50, 60, 60], [60, 60, 70, 70]]).float()
    instances = dict(bboxes=found, labels=torch.tensor([0, 1, 0]), scores=torch.tensor([0.9, 0.8, 0.7]))
    matrix = confusion_matrix(truth, [dict(img_id=7, pred_instances=instances)], 2)
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]  # the last one is of another class than the crowd


def test_the_plot(tmp_path, figures):
    """In percent of a row, which is an object's class; what is below half a percent is left out."""
    matrices = {"student": np.array([[3, 1, 0], [0, 2, 0], [1, 0, 0]]), "distilled": np.zeros((3, 3), int)}
    confusion_figure(matrices, ("a", "b")).savefig(tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000
    student, distilled = figures[0].axes
    written = {text.get_position(): text.get_text() for text in student.texts}  # by column and row
    assert written == {(0, 0): "75", (1, 0): "25", (1, 1): "100", (0, 2): "100"} and not distilled.texts
    assert (student.get_xlabel(), student.get_ylabel()) == ("detected", "object, % of the row")
