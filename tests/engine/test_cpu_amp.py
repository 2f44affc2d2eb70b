"""Mixed precision on the CPU."""

import types

import pytest
import torch

from pcka_mmdet.engine.cpu_amp import CpuAmpOptimWrapper
from tests.detectors import build, distillation, raw_batch
from tests.runners import runner

DTYPES = ("bfloat16", "float16")


def wrapper(dtype):
    return dict(type="pcka_mmdet.CpuAmpOptimWrapper", dtype=dtype, optimizer=dict(type="AdamW", lr=1e-3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_distillation_trains_in_it(dtype, tmp_path):
    options = dict(clip_grad=dict(max_norm=10.0), loss_scale=dict(init_scale=64.0))
    run = runner(distillation(), tmp_path, optim_wrapper=wrapper(dtype) | options)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    run.train()
    after = run.model.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    for key in ("architecture.neck.fpn_convs.0.conv.weight", "distiller.losses.mimic_s8.connector.weight"):
        assert after[key].dtype == torch.float32 and not torch.equal(after[key], before[key])
    scaler = run.optim_wrapper.state_dict().get("loss_scaler")
    assert bool(scaler) == (dtype == "float16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_maps_are_half_and_the_distillation_is_float32(dtype, tmp_path):
    run = runner(distillation(), tmp_path, optim_wrapper=wrapper(dtype))
    optim_wrapper = run.build_optim_wrapper(run.optim_wrapper)
    model, maps = run.model.train(), []
    model.student.neck.register_forward_hook(lambda module, inputs, outputs: maps.extend(outputs))
    with optim_wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(raw_batch(), True), mode="loss")
    assert {m.dtype for m in maps} == {getattr(torch, dtype)}
    assert {v.dtype for k, v in losses.items() if k.startswith("distill")} == {torch.float32}


def scale_after_two_steps(loss_scale):
    """A dynamic scale that grows after every step would be four times as large."""
    weight = torch.nn.Parameter(torch.ones(()))
    amp = CpuAmpOptimWrapper("float16", loss_scale, optimizer=torch.optim.SGD([weight], lr=0.1))
    amp.loss_scaler.set_growth_interval(1)
    for _ in range(2):
        amp.update_params(weight * 1.0)
    return amp.loss_scaler.get_scale()


@pytest.mark.parametrize("fixed", [512, 512.0])
def test_a_number_is_a_fixed_loss_scale(fixed):
    assert scale_after_two_steps(fixed) == 512


def test_a_dynamic_loss_scale_grows():
    assert scale_after_two_steps("dynamic") == 4 * 2**16
    assert scale_after_two_steps(dict(init_scale=8.0)) == 4 * 8


@pytest.mark.parametrize("wrong", ["512", True, 0, -1.0, float("inf"), None])
def test_another_loss_scale(wrong):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    with pytest.raises(ValueError, match=rf"loss_scale must be 'dynamic', a number above 0 .*, got {wrong!r}$"):
        CpuAmpOptimWrapper("float16", wrong, optimizer=optimizer)


def test_another_dtype():
    optimizer = torch.optim.SGD(build(distillation()).parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"dtype must be one of \('bfloat16', 'float16'\), got 'float32'"):
        CpuAmpOptimWrapper(dtype="float32", optimizer=optimizer)


@pytest.mark.filterwarnings("ignore:.*GradScaler:FutureWarning")
def test_a_torch_without_a_scaler_for_the_cpu(monkeypatch):
    """Before 2.3. bfloat16 needs none."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    older = types.ModuleType("torch.amp")  # the real module has classes that derive from the scaler
    monkeypatch.setattr(torch, "amp", older)
    with pytest.raises(ValueError, match="float16 needs torch 2.3 or newer, got .*: write dtype='bfloat16'"):
        CpuAmpOptimWrapper("float16", optimizer=optimizer)
    loss = torch.tensor(2.0)
    assert CpuAmpOptimWrapper("bfloat16", optimizer=optimizer).loss_scaler.scale(loss) is loss
