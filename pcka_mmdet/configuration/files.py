"""Config files, by their paths or by the names that packages give them."""

from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config

from .carried import carried
from .installed import check_package

OURS = "pcka_mmdet"


def load_config(path: str) -> Config:
    """The config at `path`: `'mmdet::retinanet/...py'`, `'pcka_mmdet::demo/student.py'`, absolute, or relative to the
    current directory.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It, or a config that it is based on, is no valid Python; or a package is missing or not known.
    """
    package, _, name = path.rpartition("::")
    try:
        config = _config_of_package(package, name) if package else _config_file(path)
    except SyntaxError as error:
        raise ValueError(f"the config {path!r}, or one that it is based on, is no valid Python: {error}") from error
    check_package(config.get("default_scope") or "")
    return config


def _config_of_package(package: str, name: str) -> Config:
    check_package(package)
    try:
        return Config.fromfile(carried("configs") / name) if package == OURS else get_config(f"{package}::{name}")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{package} has no config {name!r}: look for its name in the configs folder of {package}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{package}::{name}: {error} Or give the path of the config's file") from error
    except AssertionError as error:
        raise ValueError(
            f"{package}::{name}: {error} Name a package that it knows, such as mmdet::..., or pcka_mmdet::..."
        ) from error


def _config_file(path: str) -> Config:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no config file at {path!r} (the current directory is {Path.cwd()}). A config of MMDetection itself is "
            "written 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'"
        )
    return Config.fromfile(path)
