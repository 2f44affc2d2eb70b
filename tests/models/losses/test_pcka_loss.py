"""PCKALoss: golden values of the authors' released loss, and what a user meets."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from pcka_mmdet.functional import cka, extract_patches
from pcka_mmdet.models import PCKALoss

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "pcka_golden.npz")
CASES = range(4)
FORMULAS = {"none": "uncentered", "center": "centered", "debias": "debiased"}


def maps(case: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(GOLDEN[f"{case}_student"]).requires_grad_(), torch.tensor(GOLDEN[f"{case}_teacher"])


def assert_relative(actual, expected, tolerance: float = 1e-5) -> None:
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("average", ["channel", "batch", "spatial"])
def test_equals_the_released_loss(case, average):
    student, teacher = maps(case)
    loss = PCKALoss(loss_weight=10, patch_size=16, average=average, centering="none")(student, teacher)
    loss.backward()
    assert_relative(loss.item() - 10, GOLDEN[f"{case}_released_{average}_loss"])  # both are -10 CKA
    assert_relative(student.grad, GOLDEN[f"{case}_released_{average}_grad"])


@pytest.mark.parametrize("case", CASES)
def test_equals_the_released_loss_with_positions(case):
    student, teacher = maps(case)
    loss = PCKALoss(loss_weight=10, position_weight=10, patch_size=16, centering="none")(student, teacher)
    loss.backward()
    assert_relative(loss.item() - 20, GOLDEN[f"{case}_released_channel_intra+inter_loss"])
    assert_relative(student.grad, GOLDEN[f"{case}_released_channel_intra+inter_grad"])


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("centering", FORMULAS)
def test_equals_the_textbook_formulas(case, centering, dtype, tolerance):
    """The tolerance is CKA's: a loss of 3 (1 - 0.99) has the rounding errors of 0.99."""
    student, teacher = (m.detach().to(dtype) for m in maps(case))
    expected = GOLDEN[f"{case}_formula_{FORMULAS[centering]}"]
    assert_relative(cka(extract_patches(student, 16), extract_patches(teacher, 16), centering), expected, tolerance)
    loss = PCKALoss(loss_weight=3, centering=centering)
    assert_relative(1 - loss(student, teacher).item() / 3, expected.mean(), tolerance)
    assert_relative(loss.similarity, expected.mean(), tolerance)


@pytest.mark.parametrize("average", ["channel", "batch", "spatial"])
@pytest.mark.parametrize("centering", FORMULAS)
def test_identical_maps_give_zero(average, centering):
    student = torch.randn(2, 4, 16, 24, dtype=torch.float64, requires_grad=True)
    loss = PCKALoss(patch_size=4, average=average, centering=centering, position_weight=1)(student, student.detach())
    loss.backward()
    assert loss.abs() < 1e-10 and student.grad.abs().max() < 1e-10


def test_the_position_weight_acts():
    student, teacher = (m.double() for m in maps(0))
    patches = PCKALoss(loss_weight=10)(student, teacher)
    positions = PCKALoss(loss_weight=0, position_weight=1)(student, teacher)
    both = PCKALoss(loss_weight=10, position_weight=0.25)(student, teacher)
    torch.testing.assert_close(both, patches + 0.25 * positions)
    x, y = extract_patches(student, 16), extract_patches(teacher, 16)
    torch.testing.assert_close(positions, 1 - cka(x.mT, y.mT).mean())


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_maps_of_any_scale(scale):
    student, teacher = maps(0)
    scaled = (student.detach() * scale).requires_grad_()
    PCKALoss()(student, teacher).backward()
    PCKALoss()(scaled, teacher * scale).backward()
    assert_relative(scaled.grad * scale, student.grad, 1e-4)


def test_a_dead_channel_counts_as_dissimilar():
    student, teacher = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16)
    student[:, 1] = 0
    student.requires_grad_()
    loss = PCKALoss(patch_size=4)
    loss(student, teacher).backward()
    expected = (
        cka(extract_patches(student.detach()[:, [0, 2, 3]], 4), extract_patches(teacher[:, [0, 2, 3]], 4)).sum() / 4
    )
    torch.testing.assert_close(loss.similarity, expected)
    assert (student.grad[:, 1] == 0).all() and torch.isfinite(student.grad).all()


def test_patches_of_a_coco_image():
    """Patches at 1344x800, P2 to P7, by `reference/released_code.md`."""
    loss = PCKALoss(patch_size=16)
    sizes = [(200, 336), (100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]
    assert [loss.num_patches(*size) for size in sizes] == [273, 77, 24, 6, 2, 1]


@pytest.mark.parametrize("centering, needed", [("none", 2), ("center", 3), ("debias", 4)])
def test_levels_of_one_to_four_patches(centering, needed):
    loss = PCKALoss(patch_size=4, centering=centering)
    for patches in (1, 2, 3, 4):
        student = torch.randn(2, 3, 4, 4 * patches, requires_grad=True)
        teacher = torch.randn(2, 3, 4, 4 * patches)
        assert bool(loss.problem((4, 4 * patches))) == (patches < needed)
        if patches < needed:
            with pytest.raises(ValueError, match=f"4x{4 * patches} has {patches} patch(es)? of side 4.*needs {needed}"):
                loss(student, teacher)
        else:
            loss(student, teacher).backward()
            assert torch.isfinite(student.grad).all() and student.grad.abs().max() > 0


def test_a_tuple_of_levels_leaves_out_the_small_ones():
    student = tuple(torch.randn(2, 3, side, side) for side in (16, 8, 4))
    teacher = tuple(torch.randn_like(level) for level in student)
    loss = PCKALoss(patch_size=4)
    with pytest.warns(UserWarning, match="4x4 has 1 patch of side 4"):
        total = loss(student, teacher)
    torch.testing.assert_close(total, loss(student[0], teacher[0]) + loss(student[1], teacher[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(student[:2], teacher[:2])
    with pytest.raises(ValueError, match="no level is left.*8x8.*4x4.*smaller patch_size"):
        PCKALoss(patch_size=8)(student[1:], teacher[1:])


def test_maps_of_different_size_meet_at_the_students():
    student, teacher = torch.randn(1, 3, 16, 16, requires_grad=True), torch.randn(1, 3, 18, 15)
    loss = PCKALoss(patch_size=4)
    expected = loss(student, torch.nn.functional.interpolate(teacher, (16, 16), mode="bilinear"))
    torch.testing.assert_close(loss(student, teacher), expected)


def test_different_channels_need_a_connector_only_channel_by_channel():
    student, teacher = torch.randn(2, 3, 16, 16), torch.randn(2, 5, 16, 16)
    with pytest.raises(ValueError, match=r"\(2, 3, 16, 16\).*\(2, 5, 16, 16\).*FPNDistiller.*connector"):
        PCKALoss(patch_size=4)(student, teacher)
    whole = PCKALoss(patch_size=4, average="batch")
    whole(student, teacher)
    assert_relative(whole.similarity, cka(*(extract_patches(m, 4, "batch") for m in (student, teacher))).mean())
    assert [PCKALoss(average=a).needs_connector(3, 5) for a in ("channel", "batch", "spatial")] == [True, False, False]
    assert PCKALoss(average="batch", position_weight=1.0).needs_connector(3, 5)
    assert not PCKALoss().needs_connector(5, 5)


def test_the_teacher_gets_no_gradient():
    student, teacher = torch.randn(2, 3, 16, 16, requires_grad=True), torch.randn(2, 3, 16, 16, requires_grad=True)
    PCKALoss(patch_size=4)(student, teacher).backward()
    assert teacher.grad is None and student.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    student, teacher = (torch.randn(2, 3, 16, 16) * 50).to(dtype).requires_grad_(), torch.randn(2, 3, 16, 16).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss = PCKALoss(patch_size=4)(student, teacher)
        loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, PCKALoss(patch_size=4)(student.float(), teacher.float()))
    assert torch.isfinite(student.grad).all() and student.grad.abs().max() > 0


def test_bad_options():
    with pytest.raises(ValueError, match="average must be one of .*'image'"):
        PCKALoss(average="image")
    with pytest.raises(ValueError, match="centering must be one of .*'centre'"):
        PCKALoss(centering="centre")
    with pytest.raises(ValueError, match="fit must be one of .*'stretch'"):
        PCKALoss(fit="stretch")
    with pytest.raises(ValueError, match="positions within a patch; patch_size=1 has 1, .* needs 3: use larger"):
        PCKALoss(patch_size=1, position_weight=1)
    with pytest.raises(ValueError, match="patch_size must be at least 1, got 0"):
        PCKALoss(patch_size=0)
    with pytest.raises(ValueError, match="two tuples of as many levels; got .*1, 3, 8, 8.*same number of levels"):
        PCKALoss()([torch.randn(1, 3, 8, 8)], [torch.randn(1, 3, 8, 8)] * 2)


@pytest.mark.parametrize(
    ("size", "side", "patches"),
    [((100, 168), 16, 77), ((50, 84), 8, 77), ((25, 42), 4, 77), ((13, 21), 2, 77), ((40, 40), 5, 64), ((3, 5), 1, 15)],
)
def test_automatic_patches(size, side, patches):
    """About 64 patches on every level, and the value of that size."""
    automatic = PCKALoss(patch_size="auto")
    assert automatic.patch_side(*size) == side and automatic.num_patches(*size) == patches
    assert automatic.details(size) == [f"{patches} patches of {side}"]
    maps = torch.randn(2, 2, 3, *size)
    torch.testing.assert_close(automatic(*maps), PCKALoss(patch_size=side)(*maps), rtol=0, atol=0)


def test_automatic_patches_have_no_term_over_positions():
    with pytest.raises(ValueError, match="position_weight needs patches of a given size"):
        PCKALoss(patch_size="auto", position_weight=1.0)
