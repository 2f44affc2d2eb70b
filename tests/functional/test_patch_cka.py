"""CKA of maps equals CKA of the patches that are cut out of them, gradient included."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pcka_mmdet.functional import cka, extract_patches, patch_cka
from pcka_mmdet.functional.cka import CENTERINGS
from pcka_mmdet.functional.patches import AVERAGES, FITS, PART_BYTES, join_patches
from tests.live_bytes import LiveBytes


def maps(*shape, channels=None, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    teacher_shape = (shape[0], channels or shape[1], *shape[2:])
    return tuple(torch.randn(s, generator=generator, dtype=dtype) for s in (shape, teacher_shape))


def value_and_gradient(function, student, *arguments):
    student = student.clone().requires_grad_()
    value = function(student, *arguments)
    value.square().backward()
    return value.detach(), student.grad


def in_two_steps(student, teacher, patch_size, average, centering, fit, samples="patches"):
    x, y = (extract_patches(m, patch_size, average, fit) for m in (student, teacher))
    return (cka(x.mT, y.mT, centering) if samples == "positions" else cka(x, y, centering)).mean()


@pytest.fixture(params=[False, True], ids=["whole", "in parts"])
def parts(request, monkeypatch):
    """As it comes, and with one group at a time."""
    if request.param:
        monkeypatch.setitem(PART_BYTES, "cpu", 1)


@pytest.mark.parametrize("samples", ["patches", "positions"])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("centering", CENTERINGS)
def test_equals_cka_of_extracted_patches(parts, centering, average, fit, samples):
    """7x9 positions in patches of 2 (more features than patches or fewer); 8x12 has no need to fit."""
    for size in ((7, 9), (8, 12)):
        student, teacher = maps(3, 4, *size)
        options = 2, average, centering, fit, samples
        actual, expected = (value_and_gradient(f, student, teacher, *options) for f in (patch_cka, in_two_steps))
        for actual_part, expected_part in zip(actual, expected, strict=True):
            torch.testing.assert_close(actual_part, expected_part, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("patch_size", [1, 3])
def test_gradcheck(parts, centering, patch_size):
    student, teacher = maps(2, 2, 4, 5)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: patch_cka(s, teacher, patch_size, centering=centering), student)


@pytest.mark.parametrize("patch_size", [1, 2, 3])
@pytest.mark.parametrize("centering", CENTERINGS)
def test_several_kinds_of_samples_at_once(parts, centering, patch_size):
    """Uncentred they share products; more patches than features, fewer, and a channel that is dead."""
    student, teacher = maps(4, 4, 7, 9)
    student[:, 1] = 0
    weights = torch.tensor([2.0, 3.0], dtype=torch.float64)
    kinds = "patches", "positions"

    def both(student, teacher):
        return (weights * patch_cka(student, teacher, patch_size, centering=centering, samples=kinds)).sum()

    def apart(student, teacher):
        options = patch_size, "channel", centering, "resize"
        return sum(w * in_two_steps(student, teacher, *options, kind) for w, kind in zip(weights, kinds, strict=True))

    actual, expected = (value_and_gradient(f, student, teacher) for f in (both, apart))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
    assert actual[1][:, 0].abs().max() > 0 and not actual[1][:, 1].any()


@pytest.mark.parametrize("patches, separate", [(4, 8), (6, 7), (8, 6), (12, 7.5), (100, 8)])
def test_multiply_adds_of_both_kinds(patches, separate):
    """In products of the shorter side of a matrix of 8 features: six, where each kind by itself adds up to eight."""
    student, teacher = maps(2, 3, 2 * patches, 2, dtype=torch.float32)
    kinds = "patches", "positions"

    def products(*calls):
        with FlopCounterMode(display=False) as counter:
            for samples in calls:
                patch_cka(student.requires_grad_(), teacher, 2, centering="none", samples=samples)
        return counter.get_total_flops() / (2 * 3 * patches * 8 * min(patches, 8))

    assert (products(kinds), products(*kinds)) == (6, separate)


def test_peak_memory_on_a_processor():
    """Of value and gradient, over the bytes of the student's map, which here is cut in many parts."""
    both = "patches", "positions"
    for samples, centering, bound in (("patches", "center", 2.5), (both, "center", 3.5), (both, "none", 3.5)):
        student, teacher = maps(2, 128, 128, 128, dtype=torch.float32)
        student.requires_grad_()
        with LiveBytes() as live:
            patch_cka(student, teacher, 16, centering=centering, samples=samples).sum().backward()
        assert 1 < live.peak / student.nbytes < bound


def test_other_channels_where_whole_patches_are_compared():
    student, teacher = maps(2, 3, 8, 8, channels=5)
    for average in ("batch", "spatial"):
        expected = in_two_steps(student, teacher, 2, average, "center", "resize")
        torch.testing.assert_close(patch_cka(student, teacher, 2, average), expected)
    for options in (dict(), dict(average="batch", samples=("patches", "positions"))):
        with pytest.raises(ValueError, match="channel by channel, got 3 and 5 channels"):
            patch_cka(student, teacher, 2, **options)


def test_map_in_channels_last_and_in_half_precision():
    student, teacher = maps(2, 64, 8, 8)
    expected = value_and_gradient(patch_cka, student, teacher, 2)
    last = student.contiguous(memory_format=torch.channels_last)
    value, gradient = value_and_gradient(patch_cka, last, teacher, 2)
    torch.testing.assert_close((value, gradient), expected, rtol=1e-10, atol=1e-12)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(patch_cka, student.bfloat16(), teacher.bfloat16(), 2)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    for actual, exact in zip((value, gradient), expected, strict=True):
        assert (actual - exact).abs().max() < 0.03 * exact.abs().max()


def test_nothing_but_the_gradient_is_kept():
    student, teacher = maps(2, 64, 32, 32, dtype=torch.float32)
    student.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        patch_cka(student, teacher, 8)
    assert kept == [student.shape]
    with torch.no_grad():
        assert not patch_cka(student, teacher, 8).requires_grad


def test_a_graph_that_is_kept_gives_the_same_gradient_again():
    student, teacher = maps(2, 4, 8, 8)
    student.requires_grad_()
    similarity = patch_cka(student, teacher, 2)
    first, second = (torch.autograd.grad(similarity, student, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    (gradient,) = torch.autograd.grad(similarity.square(), student, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("average", AVERAGES)
def test_joining_is_the_adjoint_of_cutting(average, fit):
    """<cut m, p> = <m, join p> for any map and any patches."""
    for size in ((7, 9), (8, 12)):
        feature_map = maps(3, 4, *size)[0]
        patches = extract_patches(feature_map, 4, average, fit)
        directions = torch.randn_like(patches)
        joined = join_patches(directions, feature_map.shape, 4, average, fit)
        torch.testing.assert_close((patches * directions).sum(), (feature_map * joined).sum())


def test_joining_where_algorithms_must_be_deterministic():
    feature_map = maps(2, 3, 5, 7)[0]
    patches = torch.randn_like(extract_patches(feature_map, 4))
    expected = join_patches(patches, feature_map.shape, 4)
    torch.use_deterministic_algorithms(True)
    try:
        torch.testing.assert_close(join_patches(patches, feature_map.shape, 4), expected)
        student, teacher = maps(2, 3, 5, 7)
        options = teacher, 2, "channel", "center", "resize"
        actual, expected = (value_and_gradient(f, student, *options) for f in (patch_cka, in_two_steps))
        torch.testing.assert_close(actual, expected)
    finally:
        torch.use_deterministic_algorithms(False)


def test_bad_arguments():
    student, teacher = maps(2, 3, 8, 8)
    with pytest.raises(ValueError, match="same images and size, not empty, got"):
        patch_cka(student, teacher[:1])
    with pytest.raises(ValueError, match="samples must be one or more of"):
        patch_cka(student, teacher, samples="inter")
    with pytest.raises(ValueError, match=r"samples must be one or more of .*got \(\)"):
        patch_cka(student, teacher, samples=())
    with pytest.raises(ValueError, match="not empty, got"):
        patch_cka(student[:0], teacher[:0])
    with pytest.raises(ValueError, match="needs at least 3 samples, got 1"):
        patch_cka(student, teacher, 8)
    with pytest.raises(ValueError, match="centering must be one of"):
        patch_cka(student, teacher, 2, centering="unbiased")


@pytest.mark.parametrize(
    "parts, average, centering",
    [(False, "channel", centering) for centering in CENTERINGS]
    + [(False, "spatial", "debias"), (True, "channel", "none")],
    indirect=["parts"],
)
@pytest.mark.parametrize("patch_size", [pytest.param(1, marks=pytest.mark.full), 3])
def test_compiles_without_a_graph_break(parts, average, centering, patch_size):
    """Either form of CKA (by patch_size), and maps that are resized; for large patches, positions too."""
    student, teacher = maps(2, 2, 5, 7)
    options = teacher, patch_size, average, centering, "resize"
    options += (("patches", "positions"),) if patch_size == 3 else ()
    torch._dynamo.reset()
    compiled = torch.compile(lambda *a: patch_cka(*a).mean(), fullgraph=True, backend="aot_eager")
    actual, expected = (value_and_gradient(f, student, *options) for f in (compiled, lambda *a: patch_cka(*a).mean()))
    torch.testing.assert_close(actual, expected)
