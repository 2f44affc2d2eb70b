"""Pictures are drawn from the right values; confusion matrices, against MMDetection's tool."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import cv2
import mmdet
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from pcka_mmdet.report import theme
from pcka_mmdet.report.matches import Box, Matches
from pcka_mmdet.report.pictures import (
    HOW_TO_READ,
    align,
    confusion_figure,
    confusion_matrix,
    evenly_spaced,
    plot_features,
    plot_gallery,
    plot_similarity,
    principal_components,
)
from tests.report.cases import CLASSES, IDS, dump, random_case

TOOL = Path(mmdet.__file__).parent / ".mim" / "tools" / "analysis_tools" / "confusion_matrix.py"


def by_image(objects, detections=None):
    """Matches of an image 7, whose detections all count."""
    return SimpleNamespace(
        images=[7],
        classes=["a", "b"],
        objects={7: objects},
        detections=lambda threshold: {7: [box for box in detections if box.score >= threshold]},
    )


def test_detections_are_drawn(tmp_path, figures):
    """Those of a wrong class or place are dashed."""
    cv2.imwrite(str(tmp_path / "7.png"), np.full((32, 48, 3), 128, np.uint8))

    def run(label):
        matches = by_image([Box([4, 4, 16, 16], 1)], [Box([4, 4, 16, 16], label, 0.75, label == 1)])
        return SimpleNamespace(matches=matches, picture=lambda image: tmp_path / f"{image}.png")

    plot_gallery({"student": run(0), "distilled": run(1)}, tmp_path / "detections.png")
    (figure,) = figures
    shown = {a.get_title(): [(p.get_linestyle() == "-", p.get_bbox().bounds) for p in a.patches] for a in figure.axes}
    place = (3.5, 3.5, 16, 16)
    assert shown == {"ground truth": [(True, place)], "student": [(False, place)], "distilled": [(True, place)]}
    picture = cv2.imread(str(tmp_path / "detections.png"))[..., ::-1]
    red, green, blue = (int(theme.class_colour(1)[i : i + 2], 16) for i in (1, 3, 5))
    assert (picture == (red, green, blue)).all(axis=-1).any(), "no box in its class's colour"
    (tmp_path / "cut.png").write_bytes((tmp_path / "7.png").read_bytes()[:20])
    for name in ("gone", "cut"):
        lost = SimpleNamespace(matches=run(0).matches, picture=lambda image, name=name: tmp_path / f"{name}.png")
        with pytest.raises(FileNotFoundError, match=f"{name}.png' is missing or damaged: put the test images back, or"):
            plot_gallery({"student": lost}, tmp_path / "detections.png")


def test_images_are_spread_evenly():
    assert evenly_spaced(250, 3) == [41, 125, 208]
    assert evenly_spaced(2, 3) == [0, 1]


class Dataset:
    """As MMDetection's tool reads it."""

    metainfo = dict(classes=CLASSES)

    def __init__(self, matches):
        self.objects = list(matches.objects.values())

    def __len__(self):
        return len(self.objects)

    def get_data_info(self, index):
        return dict(instances=[dict(bbox=corners(box.bbox), bbox_label=box.label) for box in self.objects[index]])


def corners(bbox):
    x, y, width, height = bbox
    return [x, y, x + width, y + height]


@pytest.mark.skipif(not TOOL.is_file(), reason="this MMDetection comes without its tools")
def test_equals_mmdetections_tool(tmp_path):
    spec = importlib.util.spec_from_file_location("mmdets_confusion_matrix", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    annotations, results = random_case(crowds=False)
    matches = Matches(dump(annotations, tmp_path / "a.json"), dump(results, tmp_path / "b.json"), CLASSES)
    predictions = []
    names = {number: name for name, number in IDS.items()}
    for image in matches.images:
        of_image = [result for result in results if result["image_id"] == image]
        instances = dict(
            bboxes=torch.tensor([corners(result["bbox"]) for result in of_image]),
            labels=torch.tensor([CLASSES.index(names[result["category_id"]]) for result in of_image]),
            scores=torch.tensor([result["score"] for result in of_image]),
        )
        predictions.append(dict(img_id=image, pred_instances=instances))
    expected = tool.calculate_confusion_matrix(Dataset(matches), predictions, score_thr=0.3)
    matrix = confusion_matrix(matches, 0.3)
    assert np.array_equal(matrix, expected) and (matrix > 0).sum() > 12


def test_counted_by_hand():
    """A right one, one of another class, a missed object, a detection of nothing, and one below the threshold."""
    objects = [Box([0, 0, 10, 10], 0), Box([50, 50, 10, 10], 0), Box([80, 80, 10, 10], 1)]
    detections = [
        *(Box([0, 0, 10, 10], 0, 0.9), Box([50, 50, 10, 10], 1, 0.8)),
        *(Box([20, 20, 10, 10], 1, 0.7), Box([80, 80, 10, 10], 1, 0.2)),
    ]
    assert confusion_matrix(by_image(objects, detections)).tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 0]]
    assert confusion_matrix(by_image([], [])).sum() == 0


def test_the_plot(tmp_path, figures):
    """In percent of a row, which is an object's class; what is below half a percent is left out."""
    matrices = {"student": np.array([[3, 1, 0], [0, 2, 0], [1, 0, 0]]), "distilled": np.zeros((3, 3), int)}
    confusion_figure(matrices, ("a", "b")).savefig(tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000
    student, distilled = figures[0].axes
    written = {text.get_position(): text.get_text() for text in student.texts}  # by column and row
    assert written == {(0, 0): "75", (1, 0): "25", (1, 1): "100", (0, 2): "100"} and not distilled.texts
    assert (student.get_xlabel(), student.get_ylabel()) == ("detected", "object, % of the row")


def random_map(channels, height=5, width=7, seed=0):
    return torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))


def test_components_are_those_of_scikit_learn():
    components = principal_components(random_map(6))
    expected = PCA(3, whiten=True).fit_transform(random_map(6).reshape(6, -1).T.numpy())
    for i in range(3):
        correlation = np.corrcoef(components[..., i].flatten(), expected[:, i])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-5)
    assert components.reshape(-1, 3).var(0, unbiased=False).tolist() == pytest.approx([1.0] * 3)


def test_components_that_are_missing_are_0():
    components = principal_components(random_map(2))
    assert components[..., 2].abs().max() == 0 and components[..., 1].abs().max() > 0
    assert principal_components(torch.ones(4, 2, 2)).abs().max() == 0


def test_a_rotated_map_takes_the_colours_of_the_other():
    reference = principal_components(random_map(6))
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    torch.testing.assert_close(align(reference @ rotation, reference), reference)


def test_pictures(tmp_path, figures):
    levels = {"s8": dict(teacher=random_map(6), student=random_map(4, seed=1)), "s16": {}}
    levels["s16"] = dict(teacher=random_map(6, 2, 3), student=random_map(4, 2, 3))
    local = {level: dict(student=torch.rand(1, 2)) for level in levels}
    plot_features(np.zeros((50, 70, 3), np.uint8), levels, local, tmp_path / "maps.png", channels=(0, 3))
    assert figures[-1].get_supxlabel() == HOW_TO_READ
    features = figures[-1].axes
    assert [axes.get_title() for axes in features[:9]] == [
        *("teacher, mean", "components", "channel 0", "channel 3"),
        *("student, mean", "components", "channel 0", "channel 3"),
        f"student, CKA {local['s8']['student'].mean():.2f}",
    ]
    for first, maps in ((0, levels["s8"]), (9, levels["s16"])):
        for place, side in ((first, maps["teacher"]), (first + 4, maps["student"])):
            shown = [features[place + index].images[0].get_array() for index in (0, 2, 3)]
            for array, expected in zip(shown, (side.mean(0), side[0], side[3]), strict=True):
                np.testing.assert_array_equal(array, expected)
    picture, overlay = features[8].images
    assert tuple(picture.get_extent()) == tuple(overlay.get_extent()) == (0, 70, 50, 0)
    np.testing.assert_array_equal(overlay.get_array(), local["s8"]["student"])
    plot_similarity(
        np.array([[0.1, 0.2], [0.3, 0.4]]), ["s8", "s16"], ["s4", "s2"], ("a", "b"), tmp_path / "matrix.png"
    )
    (axes,) = figures[-1].axes
    written = {text.get_position(): text.get_text() for text in axes.texts}  # by column and row
    assert written == {(0, 0): "0.10", (1, 0): "0.20", (0, 1): "0.30", (1, 1): "0.40"}
    sides = (axes.get_ylabel(), axes.get_yticklabels()), (axes.get_xlabel(), axes.get_xticklabels())
    assert [(title, *(label.get_text() for label in labels)) for title, labels in sides] == [
        ("a", "s8", "s16"),
        ("b", "s4", "s2"),
    ]
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("maps.png", "matrix.png"))
