"""What a config may name a detector by."""

import pytest
from mmengine.config import Config

from pcka_mmdet.configuration import installed
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


def test_a_folder_that_mmengine_does_not_find_by_name():
    assert model_config("mmdet::legacy_1.x/retinanet_r50_fpn_1x_coco_v1.py").type == "RetinaNet"


def test_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no config file at 'retinanet.py'.*current directory.*'mmdet::"):
        model_config("retinanet.py")
    with pytest.raises(
        FileNotFoundError, match="mmdet has no config 'retinanet/none.py': look for its name in .*configs"
    ):
        model_config("mmdet::retinanet/none.py")
    for name in ("none", "not a name", "mmdet.none", "mmdet::mmdet"):
        with pytest.raises(ValueError, match=f"there is no package '{name}': name one that is installed"):
            model_config(f"{name}::a/x.py")
    (tmp_path / "open.py").write_text("model = dict(")
    with pytest.raises(ValueError, match="the config 'open.py', or one that it is based on, is no valid Python: '\\('"):
        model_config("open.py")
    (tmp_path / "student.py").write_text("default_scope = 'mmdet'")
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    for missing in ("student.py", "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"):
        with pytest.raises(ValueError, match="the package 'mmdet' is missing: pip install mmdet==3.3.0"):
            model_config(missing)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.py").write_text("a = 1")
    with pytest.raises(ValueError, match="'empty.py' defines no `model`"):
        model_config("empty.py")
    with pytest.raises(TypeError, match="expected a detector .* got Conv2d"):
        build_detector(dict(type="torch.nn.Conv2d", in_channels=1, out_channels=1, kernel_size=1))
