"""MMDLoss: the discrepancy of patches."""

import pytest
import torch

from pcka_mmdet.functional import extract_patches, mmd
from pcka_mmdet.models import MMDLoss


def maps(channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, 8, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("average", ["channel", "batch", "spatial"])
def test_is_the_mean_over_groups_of_patches(kernel, average):
    student, teacher = maps().requires_grad_(), maps(seed=1).requires_grad_()
    loss = MMDLoss(2.0, kernel, patch_size=4, average=average)(student, teacher)
    groups = [extract_patches(side, 4, average) for side in (student, teacher)]
    expected = sum(mmd(x, y, kernel) for x, y in zip(*groups, strict=True)) / len(groups[0])
    torch.testing.assert_close(loss, 2.0 * expected)
    loss.backward()
    assert student.grad.any() and teacher.grad is None
    assert MMDLoss(patch_size=4)(student, student) == 0


def test_the_similarity_is_the_cosine_of_the_patches():
    loss = MMDLoss(patch_size=4, average="batch")
    loss(maps(), maps(seed=1))
    x, y = maps().flatten(), maps(seed=1).flatten()
    expected = x.dot(y) / x.norm() / y.norm()  # the patches are the whole maps in another order
    torch.testing.assert_close(loss.metrics(), {"similarity.mmd_cosine": expected})
    loss(maps(3), maps(5))
    assert loss.metrics() == {}


def test_equal_channels_only_where_they_are_compared():
    assert MMDLoss(patch_size=4, average="batch")(maps(3), maps(5)) > 0
    assert not MMDLoss(average="batch").needs_connector(3, 5)
    assert MMDLoss().needs_connector(3, 5) and MMDLoss(kernel="rbf", average="batch").needs_connector(3, 5)
    with pytest.raises(ValueError, match="MMDLoss got a student map of shape .* images and channels must agree"):
        MMDLoss(patch_size=4)(maps(3), maps(5))


def test_a_single_patch_says_nothing():
    loss = MMDLoss(patch_size=12)
    assert loss.problem((13, 12)) is None
    message = "a map of 8x12 has 1 patch of side 12, and MMDLoss needs 2: use a smaller patch_size"
    assert loss.problem((8, 12)) == message
    with pytest.raises(ValueError, match=message):
        loss(maps(), maps(seed=1))
    assert MMDLoss(patch_size=4).describe((8, 12)) == "weight 1, 6 patches of 4"


def test_bad_options():
    with pytest.raises(ValueError, match=r"MMDLoss: kernel must be one of \('linear', 'rbf'\), got 'gauss'"):
        MMDLoss(kernel="gauss")
    with pytest.raises(ValueError, match="MMDLoss: average must be one of"):
        MMDLoss(average="mean")
