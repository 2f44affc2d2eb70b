"""The paper's RetinaNet pair, started for real on a tiny set in COCO's format."""

import json

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

CONFIGS = {
    name: f"configs/retinanet/{name}_fpn_retinanet_x101_retinanet_r50_2x_coco.py" for name in ("pcka", "pcka-mimic")
}
STRIDES = {"pcka": (8, 16, 32, 64), "mimic": (8, 16, 32, 64, 128)}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Two noise images of 320x160 with two boxes each, and COCO's 80 categories."""
    root = tmp_path_factory.mktemp("coco")
    names = CocoDataset.METAINFO["classes"]
    images = [dict(id=i, file_name=f"{i}.jpg", width=320, height=160) for i in range(2)]
    for image in images:
        pixels = np.random.RandomState(image["id"]).randint(0, 256, (160, 320, 3), np.uint8)
        Image.fromarray(pixels).save(root / image["file_name"])
    annotations = [
        dict(id=i + 1, image_id=i // 2, category_id=1 + i, bbox=[10 + 20 * i, 10, 40, 60], area=2400, iscrowd=0)
        for i in range(4)
    ]
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(names)]
    (root / "annotations.json").write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories))
    )
    return root


@pytest.mark.parametrize("recipe", CONFIGS)
def test_first_training_steps(recipe, coco, tmp_path):
    config = Config.fromfile(CONFIGS[recipe])
    loader = config.train_dataloader
    loader.num_workers, loader.persistent_workers, loader.batch_size = 0, False, 1
    loader.dataset.update(data_root=str(coco), ann_file="annotations.json", data_prefix=dict(img=""))
    loader.dataset.pipeline[2].scale = (333, 200)  # a quarter of the side
    model = dict(teacher_ckpt="random", architecture=dict(backbone=dict(init_cfg=None)))
    runs = dict(train_cfg=dict(max_epochs=1), val_dataloader=None, val_cfg=None, val_evaluator=None)
    hooks = dict(default_hooks=dict(checkpoint=None, logger=dict(interval=1)))
    config.merge_from_dict(dict(model=model, work_dir=str(tmp_path), log_level="WARNING", **runs, **hooks))
    runner = Runner.from_cfg(config)
    before = {key: value.clone() for key, value in runner.model.student.state_dict().items()}
    with pytest.warns(UserWarning, match="loss 'pcka': at stride 32 a map of 6x11 has 1 patches of side 16"):
        runner.train()
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


@pytest.mark.parametrize("recipe", CONFIGS)
def test_recipes_named_for_the_paper_are_the_papers(recipe):
    config = Config.fromfile(CONFIGS[recipe])
    losses = config.model.distiller.losses
    assert losses.pcka == dict(
        type="pcka_mmdet.PCKALoss",
        loss_weight=10.0,
        patch_size=16,
        average="channel",
        centering="none",
        strides=(8, 16, 32, 64),
    )
    assert losses.get("mimic") == (
        dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0) if recipe == "pcka-mimic" else None
    )


@pytest.mark.parametrize("recipe", CONFIGS)
def test_outside_the_model_all_is_the_students_own_config(recipe, tmp_path):
    (tmp_path / "student.py").write_text('_base_ = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"')
    student = Config.fromfile(tmp_path / "student.py").to_dict()
    config = Config.fromfile(CONFIGS[recipe]).to_dict()
    departures = {key for key in config.keys() | student.keys() if config.get(key) != student.get(key)}
    assert departures == {"model", "distiller", "log_processor"}
