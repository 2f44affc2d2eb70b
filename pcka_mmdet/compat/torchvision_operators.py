"""torchvision does not import on a torch of another build.

Trap: MMPretrain imports torchvision for its transforms. PyPI's wheels are built for CUDA. On a CPU torch their
operators do not load, and `import torchvision` ends with "operator torchvision::nms does not exist", because it
describes two of them to torch. They are declared here without an implementation: transforms need none.

Delete when: `import torchvision` of a wheel from PyPI succeeds on a CPU torch.
"""

import importlib.util
from functools import cache
from pathlib import Path

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries = []  # a declaration lasts as long as its object


@cache
def apply() -> None:
    """Declare the operators where torchvision's library does not load."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or importlib.util.find_spec("torch") is None:
        return
    import torch

    files = sorted(Path(spec.origin).parent.glob("_C*.*"))
    try:
        if files:
            torch.ops.load_library(str(files[0]))  # as torchvision does
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        _libraries.append(library)
        for name in ("nms", "qnms"):
            library.define(name + _SIGNATURE)
