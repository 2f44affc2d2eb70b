"""A distillation config from any detector's config."""

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.student import student_config
from pcka_mmdet.configuration.detector import load_config
from pcka_mmdet.configuration.recipe import RECIPES, distillation_config
from pcka_mmdet.models.teacher import Normalisation
from tests.detectors import retinanet

STUDENT, TEACHER = (
    "mmdet::yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py",
    "mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py",
)


@pytest.fixture
def made(tmp_path):
    """A config as it is kept in the work directory and read again."""

    def make(recipe):
        config = distillation_config(STUDENT, TEACHER, "teacher.pth", recipe)
        config.dump(tmp_path / config.filename)
        return Config.fromfile(tmp_path / config.filename)

    return make


@pytest.mark.parametrize("recipe", RECIPES)
def test_only_the_model_and_the_log_change(made, recipe):
    student, config = load_config(STUDENT).to_dict(), made(recipe).to_dict()
    changed = {"model", "log_processor"} | ({"custom_hooks"} if recipe == "head" else set())
    assert {k for k in config.keys() | student.keys() if config.get(k) != student.get(k)} == changed
    assert config["log_processor"] == {**student["log_processor"], "type": "pcka_mmdet.LevelLogProcessor"}
    model = config["model"]
    assert model["architecture"] == {**student["model"], "_scope_": "mmdet"}
    assert config["find_unused_parameters"] is True  # YOLOv3's own
    assert model["teacher"] == dict(cfg_path=TEACHER) and model["teacher_ckpt"] == "teacher.pth"


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe != "head"])
def test_the_recipes_are_the_zoos(made, recipe):
    losses = made(recipe).model.distiller.losses
    assert set(losses) == ({"pcka"} if recipe == "pcka" else {"pcka", "mimic"})
    assert losses.pcka.centering == ("center" if recipe == "center-mimic" else "none")
    zoo = Config.fromfile("configs/retinanet/pcka-mimic_fpn_retinanet_x101_retinanet_r50_2x_coco.py")
    expected = zoo.model.distiller.losses
    del expected.pcka["strides"]  # a student of one's own may have other levels
    if recipe != "center-mimic":
        assert losses == {name: expected[name] for name in losses}


def test_the_teachers_heads_judge_with_balanced_gradients(made):
    config = made("head")
    assert config.model.distiller.losses == dict(head=dict(type="pcka_mmdet.HeadLoss"))
    assert config.model.balance == dict(ratio=1.0)
    assert config.custom_hooks == [dict(type="pcka_mmdet.LossScheduleHook", decay="cosine")]
    two_stage = distillation_config(STUDENT, "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", "teacher.pth", "head")
    assert set(two_stage.model.distiller.losses) == {"head", "roi"}


def test_a_students_own_hooks_stay(tmp_path):
    own = dict(type="EMAHook")
    (tmp_path / "student.py").write_text(f"model = {retinanet()}\ncustom_hooks = [{own}]\ndefault_scope = 'mmdet'\n")
    assert distillation_config(str(tmp_path / "student.py"), TEACHER, "random", "head").custom_hooks[0] == own


def test_every_level_of_center_mimic_has_as_many_patches():
    losses = Config.fromfile("configs/_base_/distillers/center-mimic.py").distiller.losses
    assert {stride: side * stride for stride, side in losses.pcka.patch_size.items() if stride <= 64} == dict.fromkeys(
        (4, 8, 16, 32, 64), 64
    )


def test_its_name_says_recipe_teacher_and_student():
    config = distillation_config(STUDENT, TEACHER, "teacher.pth")
    assert config.filename == "center-mimic_rtmdet_l_8xb32-300e_coco_yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py"


def test_configs_that_do_not_do(tmp_path):
    (tmp_path / "data.py").write_text("data_root = 'data/'")
    with pytest.raises(ValueError, match=r"the config '.*data.py' defines no `model`: give the config of a detector"):
        distillation_config(str(tmp_path / "data.py"), TEACHER, "teacher.pth")
    with pytest.raises(ValueError, match="is the config of a distillation already: train it without --teacher"):
        distillation_config("configs/demo/distilled.py", TEACHER, "teacher.pth")
    with pytest.raises(FileNotFoundError, match="no config file at 'none.py'"):
        distillation_config(STUDENT, "none.py", "teacher.pth")


def test_the_students_own_preprocessor_wins_over_the_configs(tmp_path):
    """As in plain training, where the one at the top is a default; the exported student says the same."""
    path = tmp_path / "student.py"
    path.write_text(
        f"model = {retinanet()}\n"
        "data_preprocessor = dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3)\n"
        "default_scope = 'mmdet'\n"
    )
    config = distillation_config(str(path), "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", "random")
    config.work_dir = str(tmp_path)
    model = Runner.from_cfg(config).model
    assert Normalisation.of(model.data_preprocessor).mean == (120.0, 115.0, 105.0)
    assert student_config(config).model.data_preprocessor.mean == [120.0, 115.0, 105.0]
    del config.model.architecture["data_preprocessor"]
    assert student_config(config).model.data_preprocessor.mean == [0.0] * 3
    model = Runner.from_cfg(Config(dict(config, experiment_name="default"))).model
    assert Normalisation.of(model.data_preprocessor).mean == (0.0, 0.0, 0.0)
