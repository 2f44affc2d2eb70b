"""MMRazor's quantization modules do not import on torch 2.

Trap: `import mmrazor.models` fails with "`torch>=1.13` is not installed properly": the quantization modules import
names that torch 2 has removed, fall back to placeholders, and then use the placeholders because
`mmrazor.digit_version(torch.__version__) >= 1.13`. Where that comparison is false, quantization stays a placeholder
and the rest of MMRazor works.

The patch changes MMRazor's `digit_version` alone, and its result for torch's own version string alone. It must be in
place before `mmrazor.models` is imported, which a config with `_scope_='mmrazor'` does by itself. Quantization
still fails, and so does pruning with MMRazor's FxTracer, which makes the same comparison.

Delete when: an MMRazor release imports on torch 2.
"""

import sys

_LAST_BEFORE_QUANTIZATION = "1.12.1"


def apply() -> None:
    """Make MMRazor treat torch 2 like a torch without the quantization that it needs."""
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
