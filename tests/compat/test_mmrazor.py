"""MMRazor imports on today's torch, and on an mmcv that is newer than the one it accepts."""

import mmrazor
import torch
from mmengine.utils import digit_version

from pcka_mmdet.compat import mmrazor_import
from tests.processes import run_python


def test_models_import_on_this_torch_and_a_newer_mmcv_is_accepted_during_the_import_alone() -> None:
    """A config with ``_scope_='mmrazor'`` imports them by itself, so `import pcka_mmdet` has to be enough."""
    run_python(
        """
        import mmcv
        installed, mmcv.__version__ = mmcv.__version__, '2.3.6'
        import pcka_mmdet, sys
        assert mmcv.__version__ == '2.3.6'
        assert 'mmrazor' in sys.modules
        mmcv.__version__ = installed
        from mmengine.registry import MODELS
        assert MODELS.build(dict(type='mmrazor.L2Loss')) is not None
        """
    )


def test_mmrazor_is_misled_about_torch_alone() -> None:
    assert mmrazor.digit_version("2.4.6") == digit_version("2.4.6")
    if int(torch.__version__.partition(".")[0]) >= 2:
        assert mmrazor.digit_version(torch.__version__) < mmrazor.digit_version("1.13.0")
        assert digit_version(torch.__version__) >= digit_version("2.0")


def test_applying_twice_is_applying_once() -> None:
    before = mmrazor.digit_version
    mmrazor_import.apply()
    assert mmrazor.digit_version is before
