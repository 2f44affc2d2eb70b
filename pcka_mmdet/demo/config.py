"""The complete config of a training on the demo's data, and the data."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console
from rich.progress import track

from pcka_mmdet.configuration.data_set import annotation_file
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.nested import replaced
from pcka_mmdet.configuration.schedule import set_epochs
from pcka_mmdet.engine.cfg_options import merge_options

from . import CLASSES, build_digit_scenes


def demo_config(
    folder: Path,
    method: str,
    data_root: str | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    teacher: tuple[Path, Path] | None = None,
) -> Config:
    """The config `folder/METHOD.py` with the settings of the command line.

    Args:
        folder: Folder of the configs.
        method: `'teacher'`, `'student'` or `'distilled'`.
        data_root: Folder of the data; `None` keeps the config's.
        options: As in `--cfg-options`. With `train_cfg.max_epochs` the schedules change too.
        teacher: For a distillation: config file and checkpoint of the teacher.

    Raises:
        FileNotFoundError: The config does not exist.
        ValueError: The config has no `data_root`, or the epochs are below 1.
    """
    config = load_config(str(folder / f"{method}.py"))
    options = dict(options or {})
    set_epochs(config, options.pop("train_cfg.max_epochs", config.train_cfg.max_epochs))
    merge_options(config, options)
    if data_root is not None:
        move_data_root(config, data_root)
    config.merge_from_dict({"randomness.seed": seed})
    if teacher is not None:
        config_file, checkpoint = teacher
        config.model.teacher = dict(cfg_path=str(config_file))
        config.model.teacher_ckpt = str(checkpoint)
    return config


def move_data_root(config: Config, root: str) -> None:
    """Replace a config's `data_root` by `root`, in every path of the config that begins with it.

    A config derives paths from its `data_root` (`data_root + 'annotations/val.json'`) when it is read; setting the
    variable later changes none of them.

    Raises:
        ValueError: The config has no `data_root`.
    """
    old = str(config.get("data_root") or "").rstrip("/")
    if not old:
        raise ValueError(
            f"{config.filename or 'the config'} has no data_root to replace: begin it with "
            "data_root = 'data/NAME/' and derive its paths from that"
        )
    new = root.rstrip("/")

    def moved(text: str) -> str:
        return new + text[len(old) :] if text == old or text.startswith(f"{old}/") else text

    config._cfg_dict.update(replaced(config._cfg_dict, moved))


def ensure_data(config: Config, console: Console) -> None:
    """Build the digit scenes if the config uses them and they are missing.

    Raises:
        FileNotFoundError: Data of another kind are missing.
        FileExistsError: `data_root` exists and holds something else.
    """
    loaders = (config.train_dataloader, config.val_dataloader, config.test_dataloader)
    missing = [path for path in (annotation_file(loader.dataset) for loader in loaders) if not path.is_file()]
    if not missing:
        return
    root = config.get("data_root")
    if tuple(config.get("classes", ())) != CLASSES:
        raise FileNotFoundError(
            f"no annotation file at {str(missing[0])!r}: give the folder of the data by --data-root "
            f"(now {root!r}), or fetch the data first"
        )
    console.print(f"making the data set in {root}", highlight=False)
    build_digit_scenes(root, progress=partial(track, description="data set", console=console))
