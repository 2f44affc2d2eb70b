"""MMEngine's checkpoints hold types that torch's safe loader does not know.

Trap: torch >= 2.6 loads with `weights_only=True` unless told otherwise, and MMEngine does not set it. So resume,
`load_from` and teacher files fail at the first log history (`HistoryBuffer`, numpy arrays) or one-cycle schedule in
a checkpoint. OneDL's MMEngine falls back to `weights_only=False`, which runs whatever code a file holds.

This module allows exactly the types that MMEngine writes; the safe loader refuses any other pickled global and names
it. Our own loads use it whatever a call asks for: see `pcka_mmdet.checkpoints.files`. Before torch 2.6 nothing
changes.

Delete when: MMEngine registers its own types, or stores log histories and schedules as plain lists and names.
"""

from collections.abc import Callable
from typing import Any

_STATISTICS = ("min", "max", "mean", "current")
_ANNEALING = ("_annealing_cos", "_annealing_linear")
# Placeholder for MMEngine's scheduler of that name: importing the real class takes long.
_ONE_CYCLE = "OneCycleParamScheduler"


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


def loads_safely() -> bool:
    """Whether torch's safe loader takes MMEngine's checkpoints; before torch 2.6 it refuses them."""
    import torch

    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (2, 6)


def checkpoint_method(owner: Any, name: str) -> Callable:
    """Replace `getattr`, by which a pickle names a method: a statistic of a history, the annealing of a schedule.

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
        "unless you wrote it yourself; if you did, save its weights alone: torch.save({'state_dict': ...}, file)."
    )


def _numpy_types() -> list:
    """The globals in pickles of arrays and scalars (float, int, bool), under numpy 1's and numpy 2's names."""
    import numpy as np

    reconstruct, scalar = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in ((reconstruct, "_reconstruct"), (scalar, "scalar"))
    ]
    return [*functions, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in (np.float64, np.int64, np.bool_))]
