"""MMEngine without `pkg_resources`, as pip installs it beside setuptools 82 and newer."""

from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import distributions
from pathlib import Path

import mmdet
import pytest

from tests.processes import run_python

NAMES = {distribution.metadata["Name"] for distribution in distributions()}

WITHOUT = """
    import sys
    from importlib.machinery import PathFinder

    assert "pkg_resources" not in sys.modules
    find = PathFinder.find_spec
    PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] == "pkg_resources" else find(name, *rest)
"""


def test_the_trap_is_still_there():
    """When this fails, delete `pcka_mmdet/compat/pkg_resources.py`."""
    code = """
    from mmengine.utils import get_installed_path
    try:
        get_installed_path("mmdet")
    except ModuleNotFoundError as error:
        print(error)
    """
    if "mmengine" not in NAMES:
        pytest.skip("a fork of MMEngine")
    assert run_python(WITHOUT + code) == "No module named 'pkg_resources'"


def test_a_config_with_a_base_of_mmdetection():
    code = """
    import pcka_mmdet
    from mmengine.config import Config
    from mmengine.utils import get_installed_path, is_installed

    print(Config.fromfile("configs/retinanet/pcka-mimic_fpn_retinanet_x101_retinanet_r50_2x_coco.py").model.type)
    print(get_installed_path("mmdet"))
    print(is_installed("mmdet"), is_installed("none-of-these"))
    from pcka_mmdet.engine.checks.installation import examine_installation

    print(*[found.text for found in examine_installation() if found.subject == "configs of mmdet"])
    """
    kind, path, installed, said = run_python(WITHOUT + code).splitlines()
    if "mmengine" in NAMES:
        assert said.endswith("setuptools has no pkg_resources, which MMEngine asks; pcka_mmdet stands in for it")
    assert (kind, Path(path), installed) == ("pcka_mmdet.FPNDistill", Path(mmdet.__file__).parent, "True False")


def test_a_real_one_goes_first():
    if PathFinder.find_spec("pkg_resources") is None:
        pytest.skip("setuptools has none here")
    assert "compat" not in import_module("pkg_resources").__file__
