"""Pictures of neck maps."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from pcka_mmdet.report.features import HOW_TO_READ, align, plot_features, plot_matrix, principal_components


def random_map(channels, height=5, width=7, seed=0):
    return torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))


def test_components_are_those_of_scikit_learn():
    found = principal_components(random_map(6))
    expected = PCA(3, whiten=True).fit_transform(random_map(6).reshape(6, -1).T.numpy())
    for i in range(3):
        correlation = np.corrcoef(found[..., i].flatten(), expected[:, i])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-5)
    assert found.reshape(-1, 3).var(0, unbiased=False).tolist() == pytest.approx([1.0] * 3)


def test_components_that_are_missing_are_0():
    found = principal_components(random_map(2))
    assert found[..., 2].abs().max() == 0 and found[..., 1].abs().max() > 0
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
    plot_matrix(np.array([[0.1, 0.2], [0.3, 0.4]]), ["s8", "s16"], ["s4", "s2"], ("a", "b"), tmp_path / "matrix.png")
    (axes,) = figures[-1].axes
    written = {text.get_position(): text.get_text() for text in axes.texts}  # by column and row
    assert written == {(0, 0): "0.10", (1, 0): "0.20", (0, 1): "0.30", (1, 1): "0.40"}
    sides = (axes.get_ylabel(), axes.get_yticklabels()), (axes.get_xlabel(), axes.get_xticklabels())
    assert [(title, *(label.get_text() for label in labels)) for title, labels in sides] == [
        ("a", "s8", "s16"),
        ("b", "s4", "s2"),
    ]
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("maps.png", "matrix.png"))
