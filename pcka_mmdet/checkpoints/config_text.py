"""The config text in a checkpoint, which may be untrusted: it is read as data, while MMEngine would run it."""

import ast
import contextlib
import importlib.util
import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import MODELS, TASK_UTILS, WEIGHT_INITIALIZERS
from mmengine.utils import get_object_from_string
from torch import nn

from pcka_mmdet.configuration.detector import with_known_names
from pcka_mmdet.configuration.nested import walk
from pcka_mmdet.configuration.sentence import warn

PACKAGES = {*MODULE2PACKAGE, "mmengine", "mmcv", "torch", "pcka_mmdet"}
"""Packages whose configs, scopes and registered classes a checkpoint may name."""

RUN = (".py", ".json", ".yaml", ".yml", ".pkl", ".pickle")
"""Suffixes of files that run code when MMEngine reads them: configs and pickles."""

WEIGHTS = "detectron2://"
"""Prefix of pickles that are initial weights; torch's safe loader reads them."""

GIVE_CONFIG = "give the config of its training (--config, or config=...)"


def read_config(text: str) -> Config:
    """The config in a checkpoint.

    Raises:
        ValueError: The text is more than assignments of plain values and `dict(...)`, or has a `_base_`.
    """
    values: dict[str, Any] = {}
    try:
        for node in ast.parse(text).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) if name != "_base_":
                    values[name] = _value(node.value, values)
                case _:
                    raise _code(node)
        return Config(with_known_names(values))
    except (SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"the stored config cannot be read: {error}") from error


def _value(node: ast.expr | None, names: dict[str, Any]) -> Any:
    """The value of a literal, a known name, `dict(...)` or `set()`."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id="inf" | "nan" as name):
            return getattr(math, name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.List() | ast.Tuple() | ast.Set():
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind(_value(entry, names) for entry in node.elts)
        case ast.Dict(keys=keys, values=entries):
            return {_value(key, names): _value(entry, names) for key, entry in zip(keys, entries)}
        case ast.Call(func=ast.Name(id="dict"), args=[] | [ast.Dict()], keywords=words) if all(w.arg for w in words):
            entries = _value(node.args[0], names) if node.args else {}
            return entries | {word.arg: _value(word.value, names) for word in words}
        case ast.Call(func=ast.Name(id="set"), args=[], keywords=[]):
            return set()
    raise _code(node)


def _code(node: ast.AST | None) -> ValueError:
    text = ast.unparse(node)[:80] if node else "**"
    return ValueError(f"the stored config holds code, which is not run: {text!r}; {GIVE_CONFIG}")


def refuse_code(config: Config, *models: Any) -> None:
    """Refuse untrusted models that name code beyond the registered classes of installed packages.

    Args:
        config: The result of `read_config`. Its `custom_imports` are not imported; a warning names them.
        *models: Its parts that will be built.

    Raises:
        ValueError: They name a file that would be run, or a scope or type that no package in `PACKAGES` registers.
    """
    nodes = [node for _, node in walk(models)]
    dicts = [node for node in nodes if isinstance(node, dict)]
    scopes = {str(node["_scope_"]) for node in dicts if node.get("_scope_")} | {config.get("default_scope") or "mmdet"}
    for scope in scopes - PACKAGES:
        raise ValueError(f"the stored config has the scope {scope!r}, whose package is not imported; {GIVE_CONFIG}")
    for text in (node for node in nodes if isinstance(node, str)):
        if text.endswith(RUN) and not text.startswith(WEIGHTS) and not _is_of_a_package(text):
            raise ValueError(f"the stored config names the file {text!r}, which is not run; {GIVE_CONFIG}")
    kinds = {node["type"] for node in dicts if isinstance(node.get("type"), str)}
    registered = _registered(scopes | {kind.partition(".")[0] for kind in kinds} & PACKAGES)
    for kind in kinds:
        if not _is_harmless(kind, registered):
            raise ValueError(
                f"the stored config has the type {kind!r}, which no installed package registers; {GIVE_CONFIG}"
            )
    foreign = [name for name in imports_of(config) if name.partition(".")[0] not in PACKAGES]
    if foreign:
        warn(f"custom_imports {foreign} of the stored config are not imported. Where they are needed, {GIVE_CONFIG}")


def imports_of(config: Mapping) -> list[str]:
    """The modules of a config's `custom_imports`."""
    imports = (config.get("custom_imports") or {}).get("imports", [])
    return [imports] if isinstance(imports, str) else imports


def _is_of_a_package(path: str) -> bool:
    """Whether a path names a config of an installed package, such as `mmdet::retinanet/...py`."""
    package, _, name = path.partition("::")
    inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
    return package in PACKAGES and inside and importlib.util.find_spec(package) is not None


def _registered(scopes: set[str]) -> dict[str, list]:
    """The registered classes of all packages by name; those of `scopes` are imported first."""
    for scope in scopes:
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{scope}.registry")
    classes: dict[str, list] = {}
    for root in (MODELS, TASK_UTILS, WEIGHT_INITIALIZERS):
        for registry in (root, *root.children.values()):
            if registry.scope in scopes:
                registry.import_from_location()
            for name, kind in registry.module_dict.items():
                classes.setdefault(name, []).append(kind)
    return classes


def _is_harmless(kind: str, registered: dict[str, list]) -> bool:
    """Whether a type is registered, a layer of torch (as a Python-style config names it), or a bare name (`nms`) that
    MMEngine cannot import as a module."""
    package, _, rest = kind.rpartition(".")
    if not package:
        return rest in registered or (rest.isidentifier() and importlib.util.find_spec(rest) is None)
    if package.startswith("torch.nn"):
        layer = get_object_from_string(kind)
        return isinstance(layer, type) and issubclass(layer, nn.Module)
    if package.partition(".")[0] not in PACKAGES or rest not in registered:
        return False
    return package in PACKAGES or any(get_object_from_string(kind) is entry for entry in registered[rest])
