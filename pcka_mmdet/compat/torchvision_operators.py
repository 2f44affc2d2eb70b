"""torchvision does not import on a torch of another build.

Trap: MMPretrain imports torchvision for its transforms. The wheels on PyPI are built for CUDA. On a CPU torch their
operators do not load, and `import torchvision` ends with "operator torchvision::nms does not exist", because it
describes two of them to torch. They are declared here, without an implementation: transforms need none, and calling
them says so.

Delete when: `import torchvision` of a wheel from PyPI succeeds on a CPU torch.
"""

import importlib.util
from pathlib import Path

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_DESCRIBED = ("nms", "qnms")
_declared = None


def apply() -> None:
    """Declare the operators, if torchvision is there and its own do not load."""
    global _declared
    found = importlib.util.find_spec("torchvision")
    if _declared is not None or found is None or found.origin is None:
        return
    try:
        import torch
    except ImportError:
        return

    libraries = sorted(Path(found.origin).parent.glob("_C*.*"))
    if not libraries:
        return
    try:
        torch.ops.load_library(str(libraries[0]))  # as torchvision does
    except OSError:
        _declared = torch.library.Library("torchvision", "DEF")
        for name in _DESCRIBED:
            _declared.define(name + _SIGNATURE)
