"""Similarities of two maps, against their definitions in float64."""

import pytest
import torch

from pcka_mmdet.functional import cka
from pcka_mmdet.functional.map_similarity import MAX_POSITIONS, LevelMatrix, local_cka, similarities
from tests.functional.test_cka import hsic_1


def maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def positions(m):
    return m.double().permute(0, 2, 3, 1).reshape(-1, m.shape[1])


def test_each_number_is_what_it_says():
    student, teacher = maps(2, 6, 3, 4), maps(2, 6, 3, 4, seed=1)
    x, y = positions(student), positions(teacher)
    expected = dict(
        cka=cka(x, y),
        cka_debiased=cka(x, y, "debias"),
        norm_ratio=x.norm() / y.norm(),
        cosine=((x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))).mean(),
    )
    actual = {name: value.double() for name, value in similarities(student, teacher).items()}
    torch.testing.assert_close(actual, {name: expected[name] for name in actual}, rtol=1e-4, atol=1e-6)
    assert actual.keys() == expected.keys()


def test_more_images_than_positions_that_are_compared():
    many = maps(MAX_POSITIONS + 1, 2, 2, 2)
    assert similarities(many, many)["cosine"].item() == pytest.approx(1, abs=1e-5)


def test_equal_maps_and_scale():
    actual = similarities(maps(2, 6, 3, 4), maps(2, 6, 3, 4) / 2)
    assert {name: value.item() for name, value in actual.items()} == pytest.approx(
        dict(norm_ratio=2, cka=1, cka_debiased=1, cosine=1), abs=1e-5
    )


def test_maps_that_differ_in_channels_and_size():
    """No cosine; the teacher's map takes the student's size."""
    student, teacher = maps(1, 6, 4, 4), maps(1, 3, 8, 8, seed=1)
    actual = similarities(student, teacher)
    pooled = teacher.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    assert set(actual) == {"norm_ratio", "cka", "cka_debiased"}
    torch.testing.assert_close(actual["cka"].double(), cka(positions(student), positions(pooled)), rtol=1e-4, atol=0)


def test_few_positions_have_no_cka_and_many_are_sampled():
    assert set(similarities(maps(1, 4, 1, 3), maps(1, 4, 1, 3, seed=1))) == {"norm_ratio", "cosine"}
    student, teacher = maps(2, 3, 64, 64), maps(2, 4, 64, 64, seed=1)
    chosen = torch.linspace(0, 64 * 64 - 1, MAX_POSITIONS // 2).long()
    expected = cka(*(m.double().flatten(2)[:, :, chosen].transpose(1, 2).flatten(0, 1) for m in (student, teacher)))
    assert similarities(student, teacher)["cka"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_matrix_over_levels():
    """The finer map is pooled to the coarser one's size; a map is most similar to itself."""
    pyramid = [maps(4, 5, 8, 8), maps(4, 5, 4, 4, seed=1)]
    total = LevelMatrix((2, 2))
    for _ in range(2):
        total.add(pyramid, pyramid)
    values = total.values()
    pooled = pyramid[0].unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    expected = cka(positions(pooled), positions(pyramid[1]), "debias")
    torch.testing.assert_close(values.diagonal(), torch.ones(2).double(), rtol=1e-5, atol=0)
    assert values[0, 1].item() == pytest.approx(expected.item(), abs=1e-5)
    assert values[1, 0].item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_rows_of_a_matrix_are_the_students_levels():
    student = [maps(4, 5, 8, 8), maps(4, 5, 4, 4, seed=1)]
    teacher = [maps(4, 3, side, side, seed=2 + i) for i, side in enumerate((8, 4, 2))]
    total = LevelMatrix((2, 3))
    total.add(student, teacher)
    for i, student_map in enumerate(student):
        for j, teacher_map in enumerate(teacher):
            side = min(student_map.shape[-1], teacher_map.shape[-1])
            pair = (positions(torch.nn.functional.adaptive_avg_pool2d(m, side)) for m in (student_map, teacher_map))
            assert total.values()[i, j].item() == pytest.approx(cka(*pair, "debias").item(), abs=1e-5), (i, j)


def naive_hsic(x, y):
    return hsic_1(x @ x.T, y @ y.T) / (len(x) * (len(x) - 3))


def test_the_estimates_of_the_batches_are_summed():
    total, sums = LevelMatrix((1, 2)), torch.zeros(3, dtype=torch.float64)
    for seed, images in enumerate((1, 2, 1)):
        student = maps(images, 5, 3, 4, seed=seed)
        teacher = student[:, :3] + 0.5 * maps(images, 3, 3, 4, seed=100 + seed) + 7
        total.add([student], [torch.zeros(images, 2, 3, 4), teacher])
        x, y = positions(student), positions(teacher)
        sums += torch.stack([naive_hsic(x, y), naive_hsic(x, x), naive_hsic(y, y)])
    torch.testing.assert_close(total.sums[:, 0, 1], sums, rtol=1e-5, atol=0)  # in float32
    assert total.values()[0, 1].item() == pytest.approx((sums[0] / (sums[1] * sums[2]).sqrt()).item(), rel=1e-5)
    assert total.values()[0, 0].isnan()  # a constant map


def test_a_map_of_too_few_positions_is_left_out():
    total = LevelMatrix((1, 1))
    total.add([maps(1, 4, 1, 3)], [maps(1, 4, 1, 3, seed=1)])
    assert not total.sums.any()


def test_local_cka_is_that_of_each_patch():
    """Patches overlap where they do not divide the map, so that they cover it; small maps are one patch."""
    student, teacher = maps(1, 3, 6, 9), maps(1, 5, 6, 9, seed=1)
    actual = local_cka(student, teacher, 4)
    for row, top in enumerate((0, 2)):
        for column, left in enumerate((0, 2, 5)):
            patches = (positions(m[:, :, top : top + 4, left : left + 4]) for m in (student, teacher))
            assert actual[row, column].item() == pytest.approx(cka(*patches, "debias").item(), abs=1e-5)
    assert actual.shape == (2, 3)
    assert local_cka(student[:, :, :3, :3], teacher[:, :, :3, :3]).shape == (1, 1)
    few = local_cka(student[:, :, :1, :2], teacher[:, :, :1, :2])
    assert few.shape == (1, 2) and few.isnan().all()
    same = local_cka(student, student.repeat_interleave(2, 2).repeat_interleave(2, 3), 3)
    assert same.flatten().tolist() == pytest.approx([1.0] * 6, abs=1e-5)
