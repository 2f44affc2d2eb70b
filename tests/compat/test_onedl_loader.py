"""No list of allowed globals may bring in ``getattr``, or take away what was allowed before."""

import mmengine
import numpy as np
import pytest
import torch

from pcka_mmdet.compat import onedl_loader

pytestmark = pytest.mark.skipif(
    not hasattr(torch.serialization, "safe_globals"), reason="this torch has no list of allowed globals"
)


@pytest.fixture
def onedl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be on the OneDL stack, and put torch back afterwards."""
    monkeypatch.setattr(mmengine, "__version__", "0.10.12")
    monkeypatch.setattr(torch.serialization, "safe_globals", torch.serialization.safe_globals)
    onedl_loader.apply()


@pytest.mark.usefixtures("onedl")
def test_getattr_stays_guarded_and_our_types_stay_allowed() -> None:
    before = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([getattr, np.dtype, range]):
        inside = torch.serialization.get_safe_globals()
    assert getattr not in inside
    assert range in inside
    assert set(torch.serialization.get_safe_globals()) == set(before)


@pytest.mark.usefixtures("onedl")
def test_applying_twice_is_applying_once() -> None:
    guarded = torch.serialization.safe_globals
    onedl_loader.apply()
    assert torch.serialization.safe_globals is guarded
