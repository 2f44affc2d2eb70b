"""A config on data that lies elsewhere."""

from pathlib import Path

import pytest
from mmengine.config import Config

from pcka_mmdet.demo.config import demo_config, move_data_root


def test_every_path_below_the_root_moves_and_nothing_else():
    config = Config(
        dict(
            data_root="data/digits/",
            train_dataloader=dict(dataset=dict(data_root="data/digits/", ann_file="annotations/train.json")),
            val_evaluator=[dict(ann_file="data/digits/annotations/val.json")],
            roots=("data/digits", "data/digits_other/", "other/data/digits/"),
        )
    )
    move_data_root(config, "/mnt/set")
    assert config.data_root == "/mnt/set/"
    assert config.train_dataloader.dataset.data_root == "/mnt/set/"
    assert config.train_dataloader.dataset.ann_file == "annotations/train.json"
    assert config.val_evaluator[0].ann_file == "/mnt/set/annotations/val.json"
    assert config.roots == ("/mnt/set", "data/digits_other/", "other/data/digits/")


def test_a_config_without_data_root_is_refused():
    with pytest.raises(ValueError, match="no data_root .* begin it with data_root = 'data/NAME/'"):
        move_data_root(Config(dict(model=dict())), "elsewhere")


def test_what_the_options_of_the_demo_change():
    options = {"train_cfg.max_epochs": 4, "optim_wrapper.optimizer.lr": 0.5}
    config = demo_config(
        Path("configs/demo"), "distilled", seed=3, options=options, teacher=(Path("t.py"), Path("t.pth"))
    )
    assert (config.train_cfg.max_epochs, config.optim_wrapper.optimizer.lr, config.randomness.seed) == (4, 0.5, 3)
    assert config.param_scheduler[0].total_steps == 4  # scaled too
    assert (config.model.teacher, config.model.teacher_ckpt) == (dict(cfg_path="t.py"), "t.pth")
