"""Configs by their paths and names."""

import pytest

from pcka_mmdet.configuration.files import load_config


@pytest.mark.parametrize(
    "text", ["_base_ = 'none.py'", "from mmengine.config import read_base\nwith read_base():\n    from .none import *"]
)
def test_a_base_that_does_not_exist(tmp_path, text):
    (tmp_path / "mine.py").write_text(text)
    said = r"the config '.*mine.py', or one that it is based on, cannot be read: .*none.py"
    with pytest.raises(FileNotFoundError, match=said):
        load_config(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    "path, said",
    [
        ("none.py", "no config file at 'none.py'"),
        ("mmdet::none.py", "mmdet has no config 'none.py'"),
        ("nothing::none.py", "there is no package 'nothing'"),
    ],
)
def test_a_config_that_does_not_exist(path, said):
    with pytest.raises((FileNotFoundError, ValueError), match=said):
        load_config(path)


@pytest.mark.parametrize("name", ["best.pt", "epoch_3.pth", "config"])
def test_weights_in_place_of_a_config(name, tmp_path):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ValueError, match=f"{name}' is no config: give the file that ends in .py. Weights are given as"):
        load_config(str(tmp_path / name))
