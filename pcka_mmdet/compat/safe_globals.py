"""MMEngine's checkpoints hold types that torch's safe loader does not know.

Trap 1: torch >= 2.6 loads with `weights_only=True` unless told otherwise, and MMEngine does not set it. So resume,
`load_from` and teacher files fail at the first log history (`HistoryBuffer`, numpy arrays) or one-cycle schedule in a
checkpoint. `apply` allows exactly the types that MMEngine writes; the safe loader refuses each further pickled
global and names it. Before torch 2.6 nothing changes.

Trap 2: OneDL's MMEngine wraps `torch.load` in `torch.serialization.safe_globals` with a list that holds the real
`getattr`, a way around the safe loader. On exit it removes numpy's types from torch's list. The patch is in torch,
because MMEngine's loader takes 0.8 s to import. It then falls back to `weights_only=False`, which runs whatever code a
file holds; our loads do not, see `pcka_mmdet.checkpoints.files`.

Delete when: MMEngine registers its types, or stores log histories and schedules as plain lists and names; and OneDL's
`mmengine.runner.checkpoint.get_torch_safe_globals` does not return `getattr`.
"""

from collections.abc import Callable
from typing import Any

_STATISTICS = ("min", "max", "mean", "current")
_ANNEALING = ("_annealing_cos", "_annealing_linear")
# Placeholder for MMEngine's scheduler of that name: importing the real class takes long.
_ONE_CYCLE = "OneCycleParamScheduler"
_LAST_OF_OPENMMLAB = "0.10.7"


def apply() -> None:
    """Allow in `torch.load` exactly the types in MMEngine's checkpoints."""
    try:
        import torch
        from mmengine.logging.history_buffer import HistoryBuffer
    except ImportError:
        return
    if not loads_safely():
        return
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_ONE_CYCLE, f"mmengine.optim.scheduler.param_scheduler.{_ONE_CYCLE}"),
            (checkpoint_method, "builtins.getattr"),
            *_numpy_types(),
        ]
    )
    _guard_lists()


def loads_safely() -> bool:
    """Whether torch's safe loader takes MMEngine's checkpoints; before torch 2.6 it refuses them."""
    import torch

    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (2, 6)


def _guard_lists() -> None:
    """With OneDL's MMEngine, make `safe_globals` ignore `getattr`, and keep what was allowed before."""
    import mmengine
    import torch
    from mmengine.utils import digit_version

    original = torch.serialization.safe_globals
    is_openmmlab = digit_version(mmengine.__version__) <= digit_version(_LAST_OF_OPENMMLAB)
    if is_openmmlab or original.__module__ == __name__:
        return

    class GuardedSafeGlobals(original):
        def __init__(self, safe_globals: list) -> None:
            known = torch.serialization.get_safe_globals()
            super().__init__([entry for entry in safe_globals if entry is not getattr and entry not in known])

    torch.serialization.safe_globals = GuardedSafeGlobals


def checkpoint_method(owner: Any, name: str) -> Callable:
    """Replace `getattr`, by which a pickle names a statistic of a history or the annealing of a schedule.

    The real `getattr` gives a file every attribute of every allowed object, and through these any code.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    if owner == _ONE_CYCLE and name in _ANNEALING:
        from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

        return getattr(OneCycleParamScheduler, name)
    raise ValueError(
        f"the file asks for getattr({owner!r}, {name!r}); a checkpoint of MMEngine asks for HistoryBuffer: "
        f"{', '.join(_STATISTICS)}; {_ONE_CYCLE}: {', '.join(_ANNEALING)}; and nothing else. Do not load this file "
        "unless you wrote it yourself; if you did, save only its weights: torch.save({'state_dict': ...}, file)."
    )


def _numpy_types() -> list:
    """The globals in pickles of arrays and scalars (float, int, bool), under the names of numpy 1 and numpy 2."""
    import numpy as np

    functions = {"_reconstruct": np.zeros(0).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
    named = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, function in functions.items()
    ]
    return [*named, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in (np.float64, np.int64, np.bool_))]
