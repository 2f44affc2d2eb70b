"""The precision that a teacher computes in; what changes its modules is tested in test_neck_forward.py."""

import pytest
import torch

from pcka_mmdet.models.teacher import optimisation

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.mark.parametrize("generation", [7, 8, 9])
def test_what_a_gpu_computes_in(monkeypatch, generation):
    monkeypatch.setattr(torch.cuda, "get_device_capability", {GPU: (generation, 0)}.get)
    assert optimisation.has_bfloat16(GPU) == (generation >= 8)


@pytest.mark.parametrize("capabilities", [dict(avx512_bf16=True), dict(avx512_bf16=False), dict(), None], ids=str)
def test_what_a_cpu_computes_in(monkeypatch, capabilities):
    if capabilities is None:  # an older torch
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert optimisation.has_bfloat16(CPU) is bool((capabilities or {}).get("avx512_bf16"))
    assert not optimisation.has_bfloat16(torch.device("mps"))


def test_a_given_precision_is_taken_on_any_processor(monkeypatch):
    monkeypatch.setattr(optimisation, "has_bfloat16", lambda device: pytest.fail("nobody asked"))
    dtypes = [optimisation.dtype_on(CPU, name) for name in ("fp32", "bf16", "fp16")]
    assert dtypes == [None, torch.bfloat16, torch.float16]
