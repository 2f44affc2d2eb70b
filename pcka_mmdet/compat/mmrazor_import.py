"""MMRazor imports neither beside a newer mmcv nor on torch 2.

Trap 1: `import mmrazor` asserts `mmcv <= 2.1.0`; onedl-mmcv, imported as mmcv, is at 2.3. What MMRazor uses has not
changed, so `mmcv.__version__` is 2.1.0 during the import.

Trap 2: `import mmrazor.models`, as by a config with `_scope_='mmrazor'`, fails with "`torch>=1.13` is not installed
properly". The quantization modules replace names that torch 2 lacks by placeholders, and then use them where
`mmrazor.digit_version(torch.__version__) >= 1.13`. Where that is false, only quantization and FxTracer do not work.

Delete when: an MMRazor release accepts the mmcv in `requirements/`, and imports on torch 2.
"""

_NEWEST_MMCV = "2.1.0"
_LAST_TORCH_WITHOUT_QUANTIZATION = "1.12.1"


def apply() -> None:
    """Import MMRazor without its models, and make its `digit_version` misread the version of torch 2."""
    try:
        import mmcv
        import torch
        from mmengine.utils import digit_version
    except ImportError:  # `pcka_mmdet.functional` works without the MM packages
        return

    version = mmcv.__version__
    if digit_version(version) > digit_version(_NEWEST_MMCV):
        mmcv.__version__ = _NEWEST_MMCV
    try:
        import mmrazor
    except ImportError:
        return
    finally:
        mmcv.__version__ = version
    if hasattr(mmrazor.digit_version, "honest") or digit_version(torch.__version__) < digit_version("2.0"):
        return

    def without_quantization(version: str, length: int = 4) -> tuple:
        is_torch = version == torch.__version__
        return digit_version(_LAST_TORCH_WITHOUT_QUANTIZATION if is_torch else version, length)

    without_quantization.honest = digit_version
    mmrazor.digit_version = without_quantization
