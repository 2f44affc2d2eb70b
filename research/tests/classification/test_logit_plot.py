"""Correlations of logits, and how close two models are in them."""

import numpy as np
import pytest
import torch

from research.classification.logit_plot import class_similarity, plot_logit_similarity


def test_correlations_and_distances(tmp_path, figures):
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    expected = np.corrcoef(logits.double().numpy(), rowvar=False)
    assert class_similarity(logits).numpy() == pytest.approx(expected)
    models = {"teacher": logits, "same": 3.0 * logits + 1.0, "other": logits.flip(1)}
    distances = plot_logit_similarity(models, "teacher", "abcd", tmp_path / "logits.png")
    assert distances["teacher"] == 0 and distances["same"] == pytest.approx(0, abs=1e-6)
    assert distances["other"] == pytest.approx(np.sqrt(((expected[::-1, ::-1] - expected) ** 2).mean()))
    assert (tmp_path / "logits.png").stat().st_size > 1000
    drawn = [axes.images[0].get_array() for axes in figures[0].axes[: 2 * len(models)]]
    assert np.allclose(drawn[2], expected[::-1, ::-1]) and np.allclose(drawn[5], expected[::-1, ::-1] - expected)
    assert [axes.get_visible() for axes in figures[0].axes[3:6]] == [False, True, True]
