"""What a config may name a detector by."""

import pytest
from mmengine.config import Config

from pcka_mmdet.configuration.detector import build_detector, model_config
from tests.detectors import retinanet

MMDET = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"


def test_a_model_dict_is_taken_as_it_is():
    config = retinanet()
    assert model_config(config) == config
    assert type(build_detector(config)).__name__ == "RetinaNet"


def test_a_config_of_mmdetection_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = model_config(MMDET)
    assert config.type == "RetinaNet" and config["_scope_"] == "mmdet"


def test_a_path_absolute_or_relative_to_the_current_directory(tmp_path, monkeypatch):
    Config(dict(model=retinanet())).dump(tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    assert model_config("mine.py") == model_config(str(tmp_path / "mine.py"))
    assert model_config("mine.py").neck.out_channels == 16


def test_overrides_are_merged():
    config = model_config(dict(cfg_path=MMDET, bbox_head=dict(num_classes=3), backbone=dict(init_cfg=None)))
    assert config.bbox_head.num_classes == 3 and config.bbox_head.type == "RetinaHead"
    assert config.backbone.init_cfg is None and config.backbone.depth == 50


def test_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no config file at 'retinanet.py'.*current directory.*'mmdet::"):
        model_config("retinanet.py")
    with pytest.raises(FileNotFoundError, match="mmdet has no config 'retinanet/none.py'"):
        model_config("mmdet::retinanet/none.py")
    (tmp_path / "empty.py").write_text("a = 1")
    with pytest.raises(ValueError, match="'empty.py' defines no `model`"):
        model_config("empty.py")
    with pytest.raises(TypeError, match="expected a detector .* got Conv2d"):
        build_detector(dict(type="torch.nn.Conv2d", in_channels=1, out_channels=1, kernel_size=1))
