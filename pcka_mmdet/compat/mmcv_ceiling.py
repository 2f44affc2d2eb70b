"""MMRazor refuses the mmcv of the maintained OneDL stack.

Trap: `import mmrazor` asserts `mmcv <= 2.1.0`; onedl-mmcv, with the same import name, is at 2.3. Nothing that
MMRazor uses has changed in between, so `mmcv.__version__` is 2.1.0 while MMRazor is imported, and only then.

Delete when: an MMRazor release accepts the mmcv of the stacks in `requirements/`.
"""

import sys

_NEWEST_ACCEPTED = "2.1.0"


def apply() -> None:
    """Import MMRazor (its models not, so this is fast) with a version of mmcv that it accepts."""
    if "mmrazor" in sys.modules:
        return
    try:
        import mmcv
        from mmengine.utils import digit_version
    except ImportError:  # no MM packages: `pcka_mmdet.functional` works without them
        return

    version = mmcv.__version__
    if digit_version(version) > digit_version(_NEWEST_ACCEPTED):
        mmcv.__version__ = _NEWEST_ACCEPTED
    try:
        import mmrazor  # noqa: F401
    except ImportError:  # not installed: `pcka_mmdet.functional` works without it
        pass
    finally:
        mmcv.__version__ = version
