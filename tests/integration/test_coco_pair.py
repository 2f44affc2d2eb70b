"""The paper's RetinaNet pair, started for real on a tiny set in COCO's format."""

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.runner import Runner

from tests.coco import write_coco

CONFIGS = {
    name: f"configs/retinanet/{name}_fpn_retinanet_x101_retinanet_r50_2x_coco.py" for name in ("pcka", "pcka-mimic")
}
STRIDES = {"pcka": (8, 16, 32, 64), "mimic": (8, 16, 32, 64, 128)}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Two noise images of 320x160 with two boxes each, and COCO's 80 categories."""
    return write_coco(tmp_path_factory.mktemp("sets") / "coco", CocoDataset.METAINFO["classes"], ["annotations.json"])


@pytest.mark.full  # a ResNeXt-101; tests/configs/test_zoo.py takes a step of each config
@pytest.mark.parametrize("recipe", ["pcka", "pcka-mimic"])
def test_first_training_steps(recipe, coco, tmp_path, warned):
    config = Config.fromfile(CONFIGS[recipe])
    loader = config.train_dataloader
    loader.num_workers, loader.persistent_workers, loader.batch_size = 0, False, 1
    loader.dataset.update(data_root=str(coco), ann_file="annotations.json", data_prefix=dict(img="images/"))
    loader.dataset.pipeline[2].scale = (333, 200)  # a quarter of the side
    model = dict(teacher_ckpt="random", architecture=dict(backbone=dict(init_cfg=None)))
    runs = dict(train_cfg=dict(max_epochs=1), val_dataloader=None, val_cfg=None, val_evaluator=None)
    hooks = dict(default_hooks=dict(checkpoint=None, logger=dict(interval=1)))
    config.merge_from_dict(dict(model=model, work_dir=str(tmp_path), log_level="WARNING", **runs, **hooks))
    runner = Runner.from_cfg(config)
    before = {key: value.clone() for key, value in runner.model.student.state_dict().items()}
    runner.train()
    assert any("loss 'pcka': at stride 32 a map of 6x11 has 1 patch of side 16" in text for text in warned)
    assert runner.iter == 2
    logged = {key.removeprefix("train/"): log.data[0] for key, log in runner.message_hub.log_scalars.items()}
    for name in recipe.split("-"):
        for stride in STRIDES[name]:
            values = logged[f"distill.loss_{name}_s{stride}"]
            assert len(values) == 2 and np.isfinite(values).all()
            assert (values > 0).all() == (stride <= 16 or name == "mimic"), (name, stride)
    assert ("distill.loss_mimic" in logged) == (recipe == "pcka-mimic")
    changed = [key for key, value in runner.model.student.state_dict().items() if not torch.equal(value, before[key])]
    assert "neck.lateral_convs.0.conv.weight" in changed and "bbox_head.retina_cls.weight" in changed
