"""A training's config as the report reads it."""

import pytest
from mmengine.config import Config

from pcka_mmdet.configuration.distillation import STUDENT_CONFIG
from pcka_mmdet.report.run import Run, config_in


def test_code_in_a_config_is_not_run(tmp_path):
    """The folder may be somebody else's."""
    (tmp_path / "config.py").write_text(f"x = open({str(tmp_path / 'written')!r}, 'w')")
    with pytest.raises(ValueError, match="config.py' holds more than settings: give a work directory as"):
        Run.read(tmp_path)
    assert not (tmp_path / "written").exists()


def test_the_config_as_mmengine_writes_it(tmp_path):
    config = Config(dict(model=dict(type="RetinaNet"), randomness=dict(seed=3)))
    config.dump(tmp_path / "config.py")
    run = Run.read(tmp_path)
    assert run.config.to_dict() == config.to_dict() and run.seed == 3
    assert run.config.filename == str(tmp_path / "config.py")


def test_a_training_of_a_student_config(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no config in"):
        config_in(tmp_path)
    (tmp_path / STUDENT_CONFIG).write_text("")
    assert config_in(tmp_path).name == STUDENT_CONFIG
    (tmp_path / "distilled.py").write_text("")
    assert config_in(tmp_path).name == "distilled.py"
