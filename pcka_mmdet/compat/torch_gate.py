"""MMRazor's quantization modules do not import on torch 2.

Trap: ``import mmrazor.models`` fails with "`torch>=1.13` is not installed properly": the quantization modules import
names that torch 2 has removed, fall back to placeholders, and then use the placeholders because
``mmrazor.digit_version(torch.__version__) >= 1.13``. With a "no" to that comparison quantization stays a placeholder
and everything else of MMRazor works.

The answer holds for MMRazor alone and for torch's own version string alone. It must be in place before
``mmrazor.models`` is imported, which a config with ``_scope_='mmrazor'`` does by itself. What still fails is what fails
without it too: quantization, and pruning with MMRazor's FxTracer, which asks the same question.

Delete when: an MMRazor release imports on torch 2.
"""

import sys

_LAST_BEFORE_QUANTIZATION = "1.12.1"


def apply() -> None:
    """Let MMRazor take torch 2 for a torch that has no quantization of its kind."""
    mmrazor = sys.modules.get("mmrazor")
    if mmrazor is None or hasattr(mmrazor.digit_version, "honest"):
        return

    import torch
    from mmengine.utils import digit_version

    if digit_version(torch.__version__) < digit_version("2.0"):
        return

    def without_quantization(version: str, length: int = 4) -> tuple:
        return digit_version(_LAST_BEFORE_QUANTIZATION if version == torch.__version__ else version, length)

    without_quantization.honest = digit_version
    mmrazor.digit_version = without_quantization
