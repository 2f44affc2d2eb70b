"""CKA against formulas written out in float64 loops, its gradient, and what must leave it unchanged."""

import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pcka_mmdet.functional import cka
from pcka_mmdet.functional.cka import CENTERINGS, FeatureForm, SampleForm, cheaper_form
from tests.processes import run_python

FORMS = {"samples": SampleForm, "features": FeatureForm}


def hsic_1(k, el):
    """Unbiased HSIC estimate of Song et al. (2012), eq. 5, up to the factor 1 / (N (N - 3)) that a ratio cancels."""
    n = len(k)
    k, el, one = k - torch.diag(torch.diag(k)), el - torch.diag(torch.diag(el)), torch.ones(n, dtype=k.dtype)
    product = torch.trace(k @ el)
    return product + (one @ k @ one) * (one @ el @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ el @ one)


def naive_cka(x, y, centering):
    """One group, float64, from the definition."""
    x, y = x.double(), y.double()
    n = len(x)
    k, el = torch.zeros(n, n, dtype=x.dtype), torch.zeros(n, n, dtype=x.dtype)
    for i in range(n):
        for j in range(n):
            k[i, j], el[i, j] = torch.dot(x[i], x[j]), torch.dot(y[i], y[j])
    if centering == "debias":
        return hsic_1(k, el) / torch.sqrt(hsic_1(k, k) * hsic_1(el, el))
    if centering == "center":
        h = torch.eye(n, dtype=x.dtype) - torch.ones(n, n, dtype=x.dtype) / n
        k, el = h @ k @ h, h @ el @ h
    return torch.trace(k @ el) / torch.sqrt(torch.trace(k @ k) * torch.trace(el @ el))


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Either way to evaluate CKA, whatever the shape."""
    module = sys.modules["pcka_mmdet.functional.cka"]  # the package's attribute of that name is the function
    monkeypatch.setattr(module, "cheaper_form", lambda *sizes: FORMS[request.param])
    return request.param


@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("shape", [(4, 3, 3), (5, 9, 2), (12, 3, 7), (23, 4, 4)], ids=str)
def test_equals_the_naive_definition(form, centering, shape):
    samples, d1, d2 = shape
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(3, samples, d1, generator=generator) + 0.5
    y = torch.randn(3, samples, d2, generator=generator) + x[..., :1]
    expected = torch.stack([naive_cka(a, b, centering) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(cka(x.double(), y.double(), centering), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(cka(x, y, centering), expected.float(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("centering", CENTERINGS)
def test_gradient_in_both_arguments(form, centering):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    y = torch.randn(2, 6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: cka(a, b, centering), (x, y))
    assert torch.autograd.gradcheck(lambda a: cka(a, y.detach(), centering), (x,))
    assert torch.autograd.gradcheck(lambda b: cka(x.detach(), b, centering), (y,))


def test_the_form_of_fewer_products_is_the_cheaper_one():
    assert cheaper_form(8, 200, 200) is SampleForm
    assert cheaper_form(200, 8, 8) is FeatureForm


@pytest.mark.parametrize("centering", CENTERINGS)
def test_the_forms_cost_what_they_say(form, centering):
    """N^2 D or N D^2: the floating point operations of value and gradient, two for each multiply-add."""
    groups, samples, d1, d2 = 3, 11, 5, 7
    x, y = torch.randn(groups, samples, d1, requires_grad=True), torch.randn(groups, samples, d2)
    with FlopCounterMode(display=False) as counter:
        cka(x, y, centering).sum().backward()
    assert counter.get_total_flops() == 2 * groups * FORMS[form].multiply_adds(samples, d1, d2)


@pytest.mark.parametrize("centering", CENTERINGS)
def test_a_second_derivative_is_refused(centering):
    x = torch.randn(1, 5, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(cka(x, torch.randn(1, 5, 3), centering).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8, 1e30])
def test_value_and_gradient_for_any_scale(form, centering, scale):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 9, 5, generator=generator), torch.randn(2, 9, 6, generator=generator)
    reference = x.double().requires_grad_()
    cka(reference, y.double(), centering).sum().backward()
    scaled = (x * scale).requires_grad_()
    value = cka(scaled, y / scale, centering)
    value.sum().backward()
    torch.testing.assert_close(value, cka(reference, y.double(), centering).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scaled.grad * scale, reference.grad.float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("centering", CENTERINGS)
def test_invariances(form, centering):
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(3, 10, 6, dtype=torch.float64, generator=generator) for _ in "xy")
    value = cka(x, y, centering)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=generator))
    order = torch.randperm(10, generator=generator)
    torch.testing.assert_close(cka(x @ rotation, y, centering), value)
    torch.testing.assert_close(cka(x[:, order], y[:, order], centering), value)
    torch.testing.assert_close(cka(y, x, centering), value)
    torch.testing.assert_close(cka(-x, 3 * y, centering), value)
    torch.testing.assert_close(cka(x, x, centering), torch.ones(3, dtype=torch.float64))
    if centering != "none":
        torch.testing.assert_close(cka(x + 5, y - 2, centering), value)


@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("constant", [0.0, 0.3, 1e6])
def test_a_dead_group_has_no_value_and_no_gradient(form, centering, constant):
    x, y = torch.randn(3, 8, 4), torch.randn(3, 8, 4)
    if centering == "none" and constant:
        pytest.skip("a constant matrix is not zero before centring")
    x[1] = constant
    x.requires_grad_()
    value = cka(x, y, centering)
    value.sum().backward()
    assert value[1] == 0 and (x.grad[1] == 0).all()
    assert (value[[0, 2]] != 0).all() and torch.isfinite(x.grad).all() and x.grad[0].abs().max() > 0
    assert cka(y, x.detach(), centering)[1] == 0


def test_samples_at_equal_distances_have_no_debiased_cka(form):
    """Their U-centred Gram matrix is zero, but for rounding."""
    x = torch.linalg.qr(torch.randn(3, 6, 6))[0].requires_grad_()
    value = cka(x, torch.randn(3, 6, 4), "debias")
    value.sum().backward()
    assert not value.any() and not x.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_compared_in_float32(form, dtype):
    x = (torch.randn(2, 9, 32) * 100).to(dtype).requires_grad_()
    y = (torch.randn(2, 9, 32) * 100).to(dtype)
    value = cka(x, y)
    assert value.dtype == torch.float32
    value.sum().backward()
    reference = x.detach().float().requires_grad_()
    cka(reference, y.float()).sum().backward()
    torch.testing.assert_close(value, cka(reference, y.float()), rtol=0, atol=0)
    torch.testing.assert_close(x.grad, reference.grad.to(dtype), rtol=0, atol=0)


def test_autocast_changes_nothing(form):
    x, y = torch.randn(2, 9, 32, requires_grad=True), torch.randn(2, 9, 32)
    expected = cka(x, y)
    (grad,) = torch.autograd.grad(expected.sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        value = cka(x, y)
        (autocast_grad,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    torch.testing.assert_close(autocast_grad, grad, rtol=0, atol=0)


def test_nan_is_not_swallowed(form):
    x = torch.randn(2, 9, 5)
    x[0, 0, 0] = float("nan")
    for centering in CENTERINGS:
        value = cka(x, torch.randn(2, 9, 5), centering)
        assert torch.isnan(value[0]) and torch.isfinite(value[1])


def test_leading_dimensions_are_groups():
    x, y = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 5)
    assert cka(x, y).shape == (2, 3)
    assert cka(x[0, 0], y[0, 0]).shape == ()
    torch.testing.assert_close(cka(x, y)[1, 2], cka(x[1, 2], y[1, 2]))


@pytest.mark.parametrize("centering, too_few", [("none", 1), ("center", 2), ("debias", 3)])
def test_too_few_samples(centering, too_few):
    with pytest.raises(ValueError, match=f"at least {too_few + 1} samples, got {too_few}"):
        cka(torch.randn(1, too_few, 8), torch.randn(1, too_few, 8), centering)
    assert torch.isfinite(cka(torch.randn(1, too_few + 1, 8), torch.randn(1, too_few + 1, 8), centering)).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"same groups and samples.*\(1, 5, 3\) and \(1, 6, 3\)"):
        cka(torch.randn(1, 5, 3), torch.randn(1, 6, 3))
    with pytest.raises(ValueError, match="one of .*'unbiased'"):
        cka(torch.randn(1, 5, 3), torch.randn(1, 5, 3), "unbiased")


def test_functional_needs_torch_alone():
    run_python(
        """
        import sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {"mmengine", "mmcv", "mmdet", "mmrazor"}:
                    raise ModuleNotFoundError(f"{name} is blocked", name=name)

        sys.meta_path.insert(0, Blocker())
        import torch
        from pcka_mmdet.functional import cka

        assert cka(*torch.randn(2, 1, 5, 3)).shape == (1,)
        """
    )


@pytest.mark.parametrize("shape", [(4, 3), (9, 2)], ids=["samples", "features"])
@pytest.mark.parametrize("centering", ["center", "debias"])  # the test of patch_cka has all
def test_compiles_without_a_graph_break(centering, shape):
    x, y = torch.randn(2, 3, *shape, dtype=torch.float64)
    torch._dynamo.reset()
    compiled = torch.compile(cka, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (compiled, cka):
        x = x.detach().requires_grad_()
        function(x, y, centering).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(compiled(x, y, centering), cka(x, y, centering))
