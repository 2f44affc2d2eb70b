"""Find and load config files, by path or as `package::name`."""

from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.config.config import ConfigParsingError

import pcka_mmdet

from .installed import check_package


def load_config(path: str) -> Config:
    """The config at `path`: `'mmdet::retinanet/...py'`, `'pcka_mmdet::demo/student.py'`, absolute, or relative to the
    current directory.

    Raises:
        FileNotFoundError: The file, or one that it is based on, does not exist.
        ValueError: It is no file of Python, JSON or YAML; it, or a config that it is based on, is no valid Python; or a
            package is missing or not known.
    """
    package, _, name = path.rpartition("::")
    file = _file_of_package(package, name) if package else Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"no config file at {path!r} (the current directory is {Path.cwd()}). A config of MMDetection itself is "
            "written 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'"
        )
    if file.suffix not in (".py", ".json", ".yaml", ".yml"):  # what MMEngine reads
        raise ValueError(
            f"{path!r} is no config: give the file that ends in .py. Weights are given as --teacher-ckpt, "
            "--init-student or a command's CHECKPOINT"
        )
    try:
        config = Config.fromfile(file)
    except (FileNotFoundError, ConfigParsingError) as error:
        raise FileNotFoundError(f"the config {path!r}, or one that it is based on, cannot be read: {error}") from error
    except SyntaxError as error:
        raise ValueError(f"the config {path!r}, or one that it is based on, is no valid Python: {error}") from error
    check_package(config.get("default_scope") or "")
    return config


def _file_of_package(package: str, name: str) -> Path:
    """Where a package has a config. MMEngine's `get_config` reads all metafiles of the package first, for seconds."""
    check_package(package)
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ValueError(
            f"there is no package {package!r}: name one that is installed, such as mmdet::..., or pcka_mmdet::..."
        )
    configs = carried("configs") if package == "pcka_mmdet" else Path(spec.origin).parent / ".mim" / "configs"
    if not (configs / name).is_file():
        raise FileNotFoundError(f"{package} has no config {name!r}: look for its name in {configs}")
    return configs / name


def carried(name: str) -> Path:
    """The folder `configs` or `tools`: inside an installed wheel, or in the repository."""
    package = Path(pcka_mmdet.__file__).parent
    in_wheel = package / ".mim" / name
    return in_wheel.resolve() if in_wheel.is_dir() else package.parent / name
