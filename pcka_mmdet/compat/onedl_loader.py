"""OneDL's MMEngine allows `getattr` itself while it loads a checkpoint.

Trap: its loader wraps `torch.load` in `torch.serialization.safe_globals` with a list of its own. That list holds
the real `getattr`, which gives a file every attribute of every allowed object, and so a way around the safe loader.
On exit it also removes numpy's types from torch's list, including those that :mod:`.safe_globals` added.

The patch is in torch, because MMEngine's loader takes 0.8 s to import. Nothing changes for a list that neither
holds `getattr` nor repeats what is allowed already.

Delete when: OneDL's `mmengine.runner.checkpoint.get_torch_safe_globals` no longer returns `getattr`.
"""

_LAST_OF_OPENMMLAB = "0.10.7"


def apply() -> None:
    """Make `with safe_globals(...)` ignore `getattr`, and keep on exit what was allowed before."""
    try:
        import mmengine
        import torch
        from mmengine.utils import digit_version
    except ImportError:
        return
    original = getattr(torch.serialization, "safe_globals", None)
    is_openmmlab = digit_version(mmengine.__version__) <= digit_version(_LAST_OF_OPENMMLAB)
    if original is None or is_openmmlab or original.__module__ == __name__:
        return

    class GuardedSafeGlobals(original):
        def __init__(self, safe_globals: list) -> None:
            known = torch.serialization.get_safe_globals()
            super().__init__([entry for entry in safe_globals if entry is not getattr and entry not in known])

    torch.serialization.safe_globals = GuardedSafeGlobals
