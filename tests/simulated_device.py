"""A simulated accelerator: it shows without a GPU what would fail there, or make the host wait.

Tensors of the device `sim` compute on the CPU. As on a GPU, an operator that mixes them with CPU tensors raises, and a
copy to the host without blocking holds no value before its event is synchronised. Whatever makes the host wait for the
device, or upload to it, is noted with the line of the package that asked for it:

    with simulated_device() as device:
        model = device.move(model)
        with device.events() as events:
            ...
        assert not [event for event in events if event.kind == "wait" and event.ours]

It needs torch 2.9, where a backend can be written in Python. Of mmcv's operators, which read memory, the CPU's kernels
stand in. `torch.compile` does not see it.
"""

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
from mmengine.structures import instance_data
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves

import pcka_mmdet

NAME = "sim"
PACKAGE = f"{Path(pcka_mmdet.__file__).parent}/"
OLDEST = (2, 9)
available = tuple(int(number) for number in torch.__version__.split(".")[:2]) >= OLDEST
needs_simulation = pytest.mark.skipif(not available, reason="a backend in Python needs torch 2.9 or newer")

WAITS = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}
"""Operators whose result, or its size, is a number on the host."""

FACTORIES = (
    "arange",
    "arange.start",
    "arange.start_step",
    "linspace",
    "eye",
    "eye.m",
    "randperm",
    "randperm.generator",
)
"""Factories that change the size of a tensor which they make first."""

LOWER_PRECISION = ("conv2d", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm")
FLOAT32 = (
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "smooth_l1_loss",
    "l1_loss",
    "kl_div",
    "nll_loss",
    "group_norm",
)
"""Operators that autocast runs in its own precision, and in float32."""


COMPILED = ("deform_conv", "nms", "roi_align")
"""Modules of mmcv with compiled operators."""


class Event(NamedTuple):
    """Something that the host did with the device."""

    kind: str
    """`wait`, `upload`, or `read`: a copy to the host that does not block."""
    operator: str
    place: str
    """The innermost line of the package that was running, such as `models/balance.py:12`; empty if none was."""
    ours: bool
    """Whether the package asked for it, and not the student's own forward, or MMEngine."""


_events: list[Event] = []
_pending: list[tuple[Tensor, Tensor]] = []
"""Copies that have not arrived on the host, and their values."""


class SimulatedTensor(torch.Tensor):
    """A tensor of the device; its values are in `raw`, on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: Tensor) -> "SimulatedTensor":
        layout = dict(strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=f"{NAME}:0")
        return torch.Tensor._make_wrapper_subclass(cls, raw.shape, requires_grad=False, **layout)

    def __init__(self, raw: Tensor):
        self.raw = raw

    def __repr__(self) -> str:
        return f"SimulatedTensor({self.raw})"

    def tolist(self) -> Any:
        """The values on the host, which has to wait for them."""
        _note("wait", "tolist")
        return self.raw.tolist()

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return _run(operator, args, kwargs or {})


class SimulatedEvent:
    """A place in the device's queue, as `torch.cuda.Event`."""

    def record(self) -> None:
        """Note the copies that are under way."""
        self._copies = list(_pending)

    def synchronize(self) -> None:
        """Let them arrive."""
        _arrive(self._copies)


class SimulatedDevice:
    """The device, inside of `simulated_device()`."""

    def move(self, model: nn.Module) -> nn.Module:
        """Move a model to the device, and watch it."""
        return self.watch(model.to(NAME))

    def watch(self, model: nn.Module) -> nn.Module:
        """Tell what a student's forward asks for from what the package does."""
        if hasattr(model, "student"):
            model.student.forward = _forward_of_student(model.student.forward)
        return model

    @contextmanager
    def events(self) -> Iterator[list[Event]]:
        """What is done with the device in the context."""
        start, found = len(_events), []
        yield found
        found += _events[start:]


def mapped(kind: type, function: Callable, values: Any) -> Any:
    """Apply a function to what is of a kind, in tuples, lists and dicts too; torch's `tree_map_only` is slower."""
    if isinstance(values, kind):
        return function(values)
    if type(values) in (tuple, list):
        return type(values)([mapped(kind, function, value) for value in values])
    if type(values) is dict:
        return {key: mapped(kind, function, value) for key, value in values.items()}
    return values


def on_cpu(values: Any) -> Any:
    """Values with CPU tensors in place of simulated ones."""
    return mapped(SimulatedTensor, lambda tensor: tensor.raw, values)


@contextmanager
def simulated_device() -> Iterator[SimulatedDevice]:
    """Context in which torch has the device `sim`."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)

    class Generator(torch.Generator):
        def __new__(cls, device: Any = "cpu"):
            return super().__new__(cls, "cpu" if torch.device(device).type == NAME else device)

    _events.clear()
    try:
        with ExitStack() as patches:
            patches.enter_context(mock.patch.object(torch, "Generator", Generator))
            indices = instance_data.IndexType | SimulatedTensor  # types that MMEngine lets index instances
            patches.enter_context(mock.patch.object(instance_data, "IndexType", indices))
            for name in COMPILED:
                module = importlib.import_module(f"mmcv.ops.{name}")
                patches.enter_context(mock.patch.object(module, "ext_module", _OnCpu(module.ext_module)))
            yield SimulatedDevice()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


class _OnCpu:
    """Compiled operators of mmcv, by the CPU's kernels."""

    def __init__(self, compiled: Any):
        self._compiled = compiled

    def __getattr__(self, name: str) -> Callable:
        operator = getattr(self._compiled, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            result = operator(*on_cpu(args), **on_cpu(kwargs))
            if not any(isinstance(leaf, SimulatedTensor) for leaf in tree_leaves((args, kwargs))):
                return result
            if isinstance(result, Tensor):
                _note("wait", name)  # the number of rows is a result
            return mapped(Tensor, SimulatedTensor, result)

        return run


def _forward_of_student(forward: Callable) -> Callable:
    def students_forward(*args: Any, **kwargs: Any) -> Any:  # `_note` looks for it in the stack
        return forward(*args, **kwargs)

    return students_forward


def _note(kind: str, operator: str) -> None:
    frame, place, ours = sys._getframe(1), "", False
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            place, ours = f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}", True
            break
        if frame.f_code.co_name == "students_forward":
            break
        frame = frame.f_back
    _events.append(Event(kind, operator, place, ours))


def _run(operator: Any, args: tuple, kwargs: dict) -> Any:
    kwargs, name = dict(kwargs), operator._schema.name.removeprefix("aten::")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    simulated = [tensor for tensor in tensors if isinstance(tensor, SimulatedTensor)]
    on_host = [tensor for tensor in tensors if not isinstance(tensor, SimulatedTensor) and tensor.dim() > 0]
    if name == "copy_":
        return _copied(*args, **kwargs)
    if name == "_to_copy":
        return _moved(args[0], **kwargs)
    indexes = name.startswith(("index", "_index_put"))
    if on_host and not indexes:  # an index may be on the host
        raise RuntimeError(f"{name} mixes {NAME} and CPU tensors")
    if on_host:
        _note("upload", name)
    masks = args[1] if indexes and isinstance(args[1], (list, tuple)) else ()
    if name in WAITS or any(mask is not None and mask.dtype is torch.bool for mask in masks):
        _note("wait", name)
        _arrive(_pending)
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    wrapped = {id(tensor.raw): tensor for tensor in simulated}
    result = operator(*on_cpu(args), **on_cpu(kwargs))
    if any(tensor.shape != tensor.raw.shape for tensor in simulated):
        raise NotImplementedError(f"{name} changes the shape of a simulated tensor in place")
    return mapped(Tensor, lambda raw: wrapped[id(raw)] if id(raw) in wrapped else SimulatedTensor(raw), result)


def _copied(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """`copy_`; a scalar of the host is an argument of a kernel, no upload."""
    there, here = isinstance(target, SimulatedTensor), isinstance(source, SimulatedTensor)
    if there and not here and source.dim():
        _note("upload", "copy_")
    if here and not there:
        _note("read" if non_blocking else "wait", "copy_")
    on_cpu(target).copy_(on_cpu(source))
    return target


def _moved(tensor: Tensor, *, device: Any = None, non_blocking: bool = False, **options: Any) -> Tensor:
    """`to`; a copy to the host without blocking holds no value before it has arrived."""
    options.pop("pin_memory", None)
    target = tensor.device.type if device is None else torch.device(device).type
    here = isinstance(tensor, SimulatedTensor)
    result = torch.ops.aten._to_copy.default(on_cpu(tensor), **options)
    if target == NAME:
        if not here:
            _note("upload", "_to_copy")
        return SimulatedTensor(result)
    _note("read" if non_blocking else "wait", "_to_copy")
    if non_blocking:
        _pending.append((result, result.clone()))
        result.fill_(True if result.dtype is torch.bool else 77)
    else:
        _arrive(_pending)
    return result


def _arrive(copies: list[tuple[Tensor, Tensor]]) -> None:
    for target, value in list(copies):
        target.copy_(value)
        _pending[:] = [pair for pair in _pending if pair[0] is not target]


def _autocast(operator: Any, lower: bool) -> Callable:
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype(NAME) if lower else torch.float32
        narrow = (torch.float32, torch.float16, torch.bfloat16)
        cast = lambda tensor: tensor.to(dtype) if tensor.dtype in narrow else tensor  # noqa: E731
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operator(*mapped(Tensor, cast, args), **mapped(Tensor, cast, kwargs))

    return kernel


def _factory(operator: Any) -> Callable:
    def kernel(*args: Any, device: Any = None, pin_memory: Any = None, **options: Any) -> SimulatedTensor:
        return SimulatedTensor(operator(*args, device="cpu", **options))

    return kernel


_libraries: list[torch.library.Library] = []
"""Held, as a library's operators vanish with it."""


def _register() -> None:
    """Register the backend, once in a process."""
    if _libraries:
        return
    module = types.ModuleType(f"torch.{NAME}")
    module.Event = SimulatedEvent
    module.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    module.is_available = module.is_initialized = module.is_bf16_supported = lambda: True
    module.device_count, module.current_device, module._is_in_bad_fork = lambda: 1, lambda: 0, lambda: False
    module.manual_seed_all = module.set_device = lambda value: None
    module.get_rng_state = lambda device=None: torch.zeros(16, dtype=torch.uint8)
    module.set_rng_state = lambda state, device=None: None
    backend_registration._setup_privateuseone_for_python_backend(NAME, module)
    aten, fallback = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    _libraries.extend((aten, fallback))
    for name in ("empty.memory_format", "empty_strided", *FACTORIES):
        aten.impl(name, _factory(_operator(name)), "PrivateUse1")
    aten.impl("_copy_from", lambda source, target, non_blocking=False: _copied(target, source), "PrivateUse1")
    fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for names, lower in ((LOWER_PRECISION, True), (FLOAT32, False)):
        for name in names:
            aten.impl(name, _autocast(_operator(name), lower), "AutocastPrivateUse1")


def _operator(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


if available:
    _register()  # before the first backward pass of the process, which starts a queue for each device
