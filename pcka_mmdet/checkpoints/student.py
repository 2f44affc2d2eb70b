"""The student without its distillation: its config, and its checkpoint in MMDetection's plain form."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from pcka_mmdet.configuration.detector import build_detector, model_config, model_of, plain_dict
from pcka_mmdet.configuration.distillation import RECIPE_SETTINGS, is_distillation
from pcka_mmdet.configuration.nested import last_name

from .atomic_write import atomic_save, atomic_write
from .config_text import GIVE_CONFIG, imports_of, read_config, refuse_code
from .files import checked_weights, file_sha256, load_file
from .matching import load_what_fits, summarise

STUDENT = "architecture."
"""Prefix of the student's keys in a distillation."""

DISTILLATION_SCOPES = ("pcka_mmdet", "mmrazor")
"""Packages that a student no longer needs."""

REPLACEMENTS = {
    "LevelLogProcessor": "LogProcessor",
    "StudentCheckpointHook": "CheckpointHook",
    "CpuAmpOptimWrapper": "OptimWrapper",
    "FasterCocoMetric": "CocoMetric",  # in older checkpoints
    "SingleTeacherDistillValLoop": "ValLoop",
    "SelfDistillValLoop": "ValLoop",
}
"""Types of these packages in a distillation's config, and the types that replace them in the student's."""

REPLACED_OPTIONS = ("allow_teacher_change", "dtype", "loss_scale")
"""Options of the replaced types that the replacements do not have."""

NOT_IN_STUDENT = (*RECIPE_SETTINGS, "teacher_check", "resume", "load_from", "launcher", "work_dir")
"""Settings of the distillation that the student's config must not have."""


def student_path(checkpoint: str | Path) -> Path:
    """The path of a checkpoint's student: `student_epoch_3.pth` beside `epoch_3.pth`."""
    path = Path(checkpoint)
    return path.with_name(f"student_{path.name}")


def student_config(config: Config) -> Config:
    """The student's config, without hooks and imports of this package and MMRazor.

    A config that is no distillation's is returned as it is.

    Raises:
        FileNotFoundError: The student's config file does not exist.
    """
    if not is_distillation(config):
        return config
    plain = {key: value for key, value in plain_dict(config).items() if key not in NOT_IN_STUDENT}
    model = plain_dict(model_config(config.model.architecture))
    preprocessor = config.model.get("data_preprocessor") or config.get("data_preprocessor")
    if preprocessor is not None:
        model.setdefault("data_preprocessor", preprocessor)
    plain["model"] = model
    for name, hook in dict(plain.get("default_hooks") or {}).items():
        if hook and _is_for_distillation(hook) and not _plain_type(hook):
            del plain["default_hooks"][name]
    hooks = [hook for hook in plain.pop("custom_hooks", None) or [] if not _is_for_distillation(hook)]
    imports = [name for name in imports_of(plain) if name.partition(".")[0] not in DISTILLATION_SCOPES]
    options = plain.pop("custom_imports", None) or {}
    if hooks:
        plain["custom_hooks"] = hooks
    if imports:
        plain["custom_imports"] = {**options, "imports": imports}
    return Config(_replaced(plain))


def student_checkpoint(checkpoint: Mapping[str, Any], config: str | None = None) -> dict[str, Any]:
    """The student's part of a distillation's checkpoint, as tensors and plain Python types.

    Args:
        checkpoint: As MMEngine saves it: `state_dict`, and `meta` with the config as text.
        config: The student's config as text; by default it is derived from the checkpoint's.

    Raises:
        ValueError: It holds no student, or its config holds code.
    """
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise ValueError("there is no state_dict")
    weights = student_weights(checked_weights(checkpoint, "the file"))
    if not any(key.startswith("backbone.") for key in weights):
        raise ValueError(f"no key begins with 'architecture.backbone.' or 'backbone.': {list(weights)[:4]} ...")
    meta = checkpoint.get("meta", {})
    if not isinstance(meta, Mapping) or not isinstance(meta.get("cfg", ""), str):
        given = meta["cfg"] if isinstance(meta, Mapping) else meta
        raise ValueError(f"`meta` is a dict with the config as text in `cfg`, as MMEngine saves it; got {given!r:.80}")
    meta = {str(key): plain for key, value in meta.items() if (plain := _plain(value)) is not None}
    if "CLASSES" in meta:  # of MMDetection 2
        meta.setdefault("dataset_meta", {"classes": meta["CLASSES"]})
    if config is None and "cfg" in meta:
        config = _student_config_within(meta["cfg"]).pretty_text
    if config is not None:
        meta["cfg"] = config
    return {"state_dict": {key: value.detach().cpu().clone() for key, value in weights.items()}, "meta": meta}


def read_student(source: str, config: Config | None = None) -> tuple[dict[str, Any], BaseModel | None]:
    """The student of a checkpoint as a plain checkpoint, and as a detector, or `None` if there is no config.

    Args:
        source: File or URL of a checkpoint: a distillation's, of this package or of MMRazor, or a plain one.
        config: The config of the training, or of the student. By default the text in the checkpoint, which is read
            as data.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be read, holds no student, or the stored config and weights do not match.
    """
    content = load_file(source)
    try:
        plain = student_checkpoint(content, config and student_config(config).pretty_text)
        text = plain["meta"].get("cfg")
        return plain, _detector(read_config(text), plain["state_dict"]) if text else None
    except ValueError as error:
        raise ValueError(f"the student of {source!r} cannot be read: {error}") from error


def export_student(source: str | Path, target: str | Path, config: Config | None = None) -> Path:
    """Write the student of a distillation's checkpoint to `target`, atomically, and return it; see `read_student`."""
    target = Path(target)
    atomic_save(read_student(str(source), config)[0], target)
    return target


def publish(path: Path) -> Path:
    """Copy a file to a name with the first 8 digits of its sha256, as MMDetection publishes models."""
    copy = path.with_name(f"{path.stem}-{file_sha256(path)[:8]}{path.suffix}")
    atomic_write(copy, path.read_bytes())
    return copy


def _student_config_within(text: str) -> Config:
    """The student's config from the config text of a checkpoint, which must name no code to run."""
    config = read_config(text)
    try:
        model = config.get("model", {})
        student = [model.architecture, model.get("data_preprocessor")] if is_distillation(config) else [model]
        refuse_code(config, *student, config.get("data_preprocessor"))
        return student_config(config)
    except (AttributeError, KeyError, TypeError) as error:  # text of any kind, in which anything may be of another type
        raise ValueError(
            f"the stored config is not a detector's ({type(error).__name__}: {error}); {GIVE_CONFIG}"
        ) from error


def _detector(config: Config, weights: dict[str, Tensor]) -> BaseModel:
    """A config's detector with these weights; ValueError if names or shapes differ."""
    try:
        detector = build_detector(model_of(config, "in the checkpoint"))
    except Exception as error:  # constructors raise errors of any kind
        raise ValueError(f"the detector of the stored config cannot be built ({error}); {GIVE_CONFIG}") from error
    problems = load_what_fits(detector, weights)[1]
    if problems:
        raise ValueError(
            f"the stored config and weights do not match: {summarise(problems)}. MMRazor's algorithms ignore the "
            "overrides beside cfg_path. Give the config of the student as it was trained: --config"
        )
    return detector


def _is_for_distillation(node: dict) -> bool:
    """Whether the type of a hook or another part is of `DISTILLATION_SCOPES`, by its scope or its class's package."""
    kind = node.get("type")
    name = kind if isinstance(kind, str) else getattr(kind, "__module__", "")
    return name.partition(".")[0] in DISTILLATION_SCOPES or node.get("_scope_") in DISTILLATION_SCOPES


def _plain_type(node: dict) -> str | None:
    """The type that replaces a distillation's in the student's config."""
    return REPLACEMENTS.get(last_name(node.get("type", "")))


def _replaced(node: Any) -> Any:
    if isinstance(node, dict):
        if _is_for_distillation(node) and (kind := _plain_type(node)):
            node = {key: value for key, value in node.items() if key not in REPLACED_OPTIONS} | {"type": kind}
            if node.get("_scope_") in DISTILLATION_SCOPES:
                del node["_scope_"]
        return {key: _replaced(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(map(_replaced, node))
    return node


def _plain(value: Any) -> Any:
    """The value in plain Python types; `None` if it has no such form."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # arrays, tensors and NumPy scalars (float64 is a float, str_ a str)
        return _plain(value.tolist())
    return value if type(value) in (str, int, float, bool) else None


def student_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student's weights with a plain checkpoint's keys, from a plain checkpoint or a distillation's."""
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    return {key.removeprefix(STUDENT): weights[key] for key in weights if key.startswith(STUDENT)} or weights


def add_student_prefix(student: nn.Module, state_dict: dict[str, Tensor], prefix: str) -> None:
    """Add the student's prefix, in place, to the keys of a plain checkpoint.

    Args:
        state_dict: The weights that will be loaded; a distillation's are left as they are.
        prefix: Prefix of the distillation's keys: `'module.'` under EMAHook.

    Raises:
        ValueError: No key is the student's, with or without the prefix. MMEngine would only warn.
    """
    if not state_dict or any(key.startswith(f"{prefix}{STUDENT}") for key in state_dict):
        return
    if not any(f"{prefix}{key}" in state_dict for key in student.state_dict()):
        raise ValueError(
            f"the checkpoint has nothing of the student, a {type(student).__name__}: its keys are "
            f"{summarise(list(state_dict))}. Give a checkpoint of the student's config, or of a distillation of it"
        )
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f"{prefix}{STUDENT}{key.removeprefix(prefix)}"] = state_dict.pop(key)
