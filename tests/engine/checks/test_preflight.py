"""What is refused before a training starts, and what the user is told."""

import json
import sys

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from pcka_mmdet.configuration.data_set import data_classes
from pcka_mmdet.engine.checks import annotations, installation, preflight
from tests.detectors import distillation, retinanet


def config(root, **dataset) -> Config:
    data = dict(type="CocoDataset", data_root=f"{root}/", ann_file="annotations/train.json", **dataset)
    student = retinanet()
    student["bbox_head"]["num_classes"] = 10
    return Config(dict(model=distillation(architecture=student), train_dataloader=dict(dataset=data)))


DIGITS = dict(metainfo=dict(classes=tuple("0123456789")))


def test_a_right_config_passes(digit_scenes):
    right = config(digit_scenes, **DIGITS)
    preflight.check_weights(right)
    annotations.check_annotations(right)
    right.train_dataloader.dataset = dict(type="RepeatDataset", times=2, dataset=right.train_dataloader.dataset)
    annotations.check_annotations(right)


def test_no_teacher_checkpoint(digit_scenes):
    wrong = config(digit_scenes)
    wrong.model.teacher_ckpt = None
    with pytest.raises(ValueError, match=r"model.teacher_ckpt is left out.*FILE_OR_URL.*write 'random'"):
        preflight.check_weights(wrong)
    wrong.model.teacher_ckpt = "gone.pth"
    with pytest.raises(FileNotFoundError, match="model.teacher_ckpt 'gone.pth' does not exist .*by --teacher-ckpt"):
        preflight.check_weights(wrong)
    preflight.check_weights(Config(dict(model=retinanet())))  # a student alone has no teacher


def test_a_config_without_a_model():
    with pytest.raises(ValueError, match="the config '.*cpu_training.py' defines no `model`: give the config of a de"):
        preflight.check_weights(Config.fromfile("configs/_base_/cpu_training.py"))


@pytest.mark.parametrize("strategy", ["FSDPStrategy", "mmengine.DeepSpeedStrategy"])
def test_strategies_that_shard_the_model(strategy):
    wrong = Config(dict(model=distillation(), strategy=dict(type=strategy)))
    with pytest.raises(ValueError, match=rf"^{strategy.rpartition('.')[2]} does not distil: .*Write DDPStrategy or"):
        preflight.check_settings(wrong)
    wrong.model = retinanet()
    preflight.check_settings(wrong)
    preflight.check_settings(Config(dict(model=distillation(), strategy=dict(type="DDPStrategy"))))
    preflight.check_settings(Config(dict(model=distillation())))


def test_an_optimizer_that_decays_by_layers():
    wrapper = dict(constructor="mmdet.LearningRateDecayOptimizerConstructor")
    wrong = Config(dict(model=distillation(), optim_wrapper=wrapper))
    with pytest.raises(ValueError, match="LearningRateDecayOptimizerConstructor looks for.*'architecture.backbone'"):
        preflight.check_settings(wrong)
    preflight.check_settings(Config(dict(model=retinanet(), optim_wrapper=wrapper)))
    preflight.check_settings(Config(dict(model=distillation(), optim_wrapper=dict(optimizer={}))))
    preflight.check_settings(Config(dict(model=distillation())))


@pytest.mark.parametrize(
    "loop, scheduler, needed",
    [
        (dict(max_epochs=40), dict(total_steps=16), 40),
        (dict(max_epochs=40), dict(total_steps=16, begin=1, end=20), 18),
        (dict(max_epochs=16), dict(total_steps=16), None),
        (dict(max_epochs=40), dict(total_steps=16, end=17), None),
        (dict(max_epochs=40), dict(total_steps=16, type="mine.Schedule"), None),
        (dict(max_epochs=40), dict(total_steps=160, by_epoch=False), None),  # the iterations are not known yet
        (dict(type="IterBasedTrainLoop", max_iters=90), dict(total_steps=16, by_epoch=False), 90),
        (dict(max_epochs=40), dict(gamma=0.1), None),
    ],
)
def test_a_schedule_that_ends_before_the_training(loop, scheduler, needed):
    scheduler = dict(type="OneCycleLR") | scheduler
    for given, place in (([scheduler], "param_scheduler.0"), (scheduler, "param_scheduler")):
        config = Config(dict(model=retinanet(), train_cfg=loop, param_scheduler=given))
        if needed is None:
            preflight.check_schedule(config)
            continue
        with pytest.raises(
            ValueError, match=f"{place}.total_steps is 16, .* --cfg-options {place}.total_steps={needed}"
        ):
            preflight.check_schedule(config)


def test_a_hook_that_an_algorithm_of_mmrazors_fails_at():
    """It would, in the last epochs: MMDetection's hook looks for the head."""
    hooks = [dict(type="mmdet.YOLOXModeSwitchHook", num_last_epochs=15)]
    foreign = Config(dict(model=distillation(type="mmrazor.FpnTeacherDistill"), custom_hooks=hooks))
    with pytest.raises(ValueError, match="head of a mmrazor.FpnTeacherDistill.*num_last_epochs before its end.*FPND"):
        preflight.check_settings(foreign)
    for model in (distillation(), retinanet()):
        preflight.check_settings(Config(dict(model=model, custom_hooks=hooks)))
    foreign.custom_hooks = None
    preflight.check_settings(foreign)


def test_a_stop_by_epochs_in_a_training_by_iterations():
    hooks = [dict(type="mmrazor.StopDistillHook", stop_epoch=1)]
    preflight.check_settings(Config(dict(model=distillation(), custom_hooks=hooks, train_cfg=dict(by_epoch=True))))
    for loop in (dict(by_epoch=False), dict(type="IterBasedTrainLoop")):
        with pytest.raises(ValueError, match=r"counts iterations, so it would never stop: write .*stop=ITERATION\)"):
            preflight.check_settings(Config(dict(model=distillation(), custom_hooks=hooks, train_cfg=loop)))


@pytest.mark.parametrize("hooks", [{"0": dict(type="EMAHook")}, [{}], "EMAHook"])
def test_hooks_that_are_no_list_of_hooks(hooks):
    with pytest.raises(ValueError, match=r"custom_hooks is a list of hooks, such as \[dict\(type='EMAHook'\)\]; got"):
        preflight.check_settings(Config(dict(model=retinanet(), custom_hooks=hooks)))


def test_the_students_head_alone_is_compared_with_the_data(digit_scenes):
    """Of MMRazor's algorithm too, whose teacher may have other classes."""
    right = config(digit_scenes, **DIGITS)
    right.model.type = "mmrazor.FpnTeacherDistill"
    annotations.check_annotations(right)


def test_classes_in_a_file_or_of_another_kind(digit_scenes, tmp_path):
    """What MMDetection accepts."""
    (tmp_path / "classes.txt").write_text("\n".join("0123456789"))
    annotations.check_annotations(config(digit_scenes, metainfo=dict(classes=str(tmp_path / "classes.txt"))))
    with pytest.raises(ValueError, match=r"metainfo.classes is the text 'cell'.*write classes=\('cell',\)"):
        annotations.check_annotations(config(digit_scenes, metainfo=dict(classes="cell")))
    with pytest.raises(ValueError, match="no category"):  # a palette alone leaves COCO's own classes
        annotations.check_annotations(config(digit_scenes, metainfo=dict(palette=[(0, 0, 0)])))
    panoptic = config(digit_scenes)
    panoptic.train_dataloader.dataset.type = "CocoPanopticDataset"
    annotations.check_annotations(panoptic)
    without = config(digit_scenes)
    without.train_dataloader.dataset.type = "V3DetDataset"  # its classes come from its annotations
    annotations.check_annotations(without)
    by_text = config(digit_scenes, **DIGITS)
    by_text.model.architecture.language_model = dict()
    by_text.model.architecture.bbox_head.num_classes = 256
    annotations.check_annotations(by_text)


def test_classes_in_another_order_than_the_file(digit_scenes):
    """MMDetection numbers labels in the file's order, so that the AP is right and the names are not."""
    assert annotations.check_annotations(config(digit_scenes, **DIGITS)) == []
    (message,) = annotations.check_annotations(config(digit_scenes, metainfo=dict(classes=tuple("1023456789"))))
    assert "['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], and metainfo.classes is ['1', '0', '2'," in message


def test_a_data_set_that_reads_the_categories_in_its_own_way(digit_scenes):
    two = config(digit_scenes, metainfo=dict(classes=("even", "odd")))
    two.model.architecture.bbox_head.num_classes = 2
    with pytest.raises(ValueError, match=r"no category \['even', 'odd'\]"):
        annotations.check_annotations(two)
    two.train_dataloader.dataset.type = Parity
    annotations.check_annotations(two)
    two.model.architecture.bbox_head.num_classes = 10
    with pytest.raises(ValueError, match="has 2 classes"):
        annotations.check_annotations(two)


class Parity(CocoDataset):
    """A user's data set, which maps the categories of its file to other classes."""

    def load_data_list(self):
        raise NotImplementedError


def test_an_evaluator_of_other_annotations(digit_scenes):
    """MMDetection says so after an epoch, by an AssertionError."""
    right = config(digit_scenes, **DIGITS)
    right.val_dataloader = right.train_dataloader
    right.val_evaluator = dict(type="CocoMetric", ann_file=str(digit_scenes / "annotations" / "train.json"))
    annotations.check_annotations(right, ["val_dataloader"])
    right.val_evaluator = [dict(right.val_evaluator, ann_file=str(digit_scenes / "annotations" / "val.json"))]
    with pytest.raises(
        ValueError, match=r"^val_evaluator compares with '.*val.json', and .* to the file of val_datalo"
    ):
        annotations.check_annotations(right)
    right.val_dataloader = dict(dataset=dict(type="ConcatDataset", datasets=[right.train_dataloader.dataset] * 2))
    right.val_evaluator = dict(type="CocoMetric")
    annotations.check_annotations(right)


def test_files_in_place_of_annotations(digit_scenes, tmp_path):
    given = config(digit_scenes, **DIGITS)
    path = tmp_path / "given.json"
    given.train_dataloader.dataset.ann_file = str(path)
    detections = [dict(image_id=1, bbox=[1, 2, 3, 4], score=0.5)]
    for content in (detections, dict(categories=["cat"]), dict(images=[], annotations=[])):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="given.json' is no annotation file in COCO's format .* a JSON list"):
            annotations.check_annotations(given)


def test_a_folder_of_images_that_is_missing(digit_scenes):
    """Else a bare errno of the process that loads data."""
    given = config(digit_scenes, **DIGITS)
    given.train_dataloader.dataset.data_prefix = dict(img="trian/")
    with pytest.raises(
        FileNotFoundError, match=r"data_prefix.img '.*trian/' does not exist .*data_root and data_prefix.img"
    ):
        annotations.check_annotations(given)
    given.train_dataloader.dataset.data_prefix = dict(img="s3://bucket/train/")
    annotations.check_annotations(given)


def test_two_files_with_their_classes_in_another_order(digit_scenes, tmp_path):
    """A label would mean another class in each: MMDetection evaluates that without a word."""
    right = config(digit_scenes, **DIGITS)
    content = json.loads((digit_scenes / "annotations" / "val.json").read_text())
    content["categories"] = content["categories"][::-1]
    (tmp_path / "val.json").write_text(json.dumps(content))
    dataset = dict(right.train_dataloader.dataset, ann_file=str(tmp_path / "val.json"))
    right.test_dataloader = dict(dataset=dataset)
    annotations.check_annotations(right)
    with pytest.raises(
        ValueError, match=r"test_dataloader: '.*val.json' has the classes in the order \['9', .*one ord"
    ):
        annotations.check_annotations(right, ["train_dataloader", "test_dataloader"])
    dataset["type"] = "Objects365V1Dataset"  # it sorts its categories
    right.test_dataloader = dict(dataset=dataset)
    annotations.check_annotations(right, ["train_dataloader", "test_dataloader"])


def test_several_data_sets_in_one(digit_scenes):
    one = config(digit_scenes, **DIGITS).train_dataloader.dataset
    assert data_classes(dict(type="ConcatDataset", datasets=[one, one]), "mmdet") is None


def test_each_of_several_data_sets(digit_scenes):
    right, wrong = (config(digit_scenes, metainfo=dict(classes=c)) for c in (tuple("0123456789"), ("cat",)))
    both = [c.train_dataloader.dataset for c in (right, wrong)]
    right.train_dataloader.dataset = dict(type="ConcatDataset", datasets=both)
    with pytest.raises(ValueError, match=r"no category \['cat'\]"):
        annotations.check_annotations(right)


def test_an_empty_annotation_file(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").touch()
    with pytest.raises(ValueError, match="'.*train.json' is no annotation file in COCO's format"):
        annotations.check_annotations(config(tmp_path))


def test_no_annotation_file(tmp_path):
    said = r"train_dataloader: ann_file '.*train.json' does not exist .*set train_dataloader"
    with pytest.raises(FileNotFoundError, match=said):
        annotations.check_annotations(config(tmp_path))


def test_a_data_set_on_a_server_is_not_looked_for_here(digit_scenes):
    remote = config(digit_scenes)
    remote.train_dataloader.dataset.data_root = "s3://bucket/digits/"
    annotations.check_annotations(remote)


def test_classes_that_the_annotations_lack(digit_scenes):
    wrong = config(digit_scenes, metainfo=dict(classes=("0", "cat")))
    with pytest.raises(ValueError, match=r"no category \['cat'\]; it has \['0', .*metainfo=dict\(classes="):
        annotations.check_annotations(wrong)
    with pytest.raises(ValueError, match=r"no category \['person', 'bicycle'"):  # CocoDataset's own classes
        annotations.check_annotations(config(digit_scenes))


@pytest.mark.parametrize(
    "text",
    [
        '{"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "d\\u00f6g"}], "images": []}',
        '{"images": [{"id": 1}], "categories" : [{"id": 1, "name": "cat"}, {"name": "dög"}]}',
        '{"images": [{"categories": 3}], "categories": [{"name": "cat"}, {"name": "dög"}]}',
        '{"info": {"categories": [{"n": 1}]}, "categories": [{"name": "cat"}, {"name": "dög"}]}',
    ],
)
def test_category_names_wherever_they_stand(text, tmp_path):
    (tmp_path / "coco.json").write_text(text, encoding="utf8")
    assert annotations.category_names(tmp_path / "coco.json") == ["cat", "dög"]


def test_a_head_with_other_classes_than_the_data(digit_scenes):
    wrong = config(digit_scenes, **DIGITS)
    wrong.model.architecture.bbox_head.num_classes = 3
    with pytest.raises(ValueError, match=r"10 classes .* bbox_head num_classes=\[3\]: set num_classes of .* to 10"):
        annotations.check_annotations(wrong)


def test_torchvision_weights_that_nobody_knows(monkeypatch, digit_scenes):
    wrong = config(digit_scenes)
    wrong.model.architecture.backbone.init_cfg = dict(type="Pretrained", checkpoint="torchvision://resnet18")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    preflight.check_weights(wrong)  # in MMEngine's list
    wrong.model.architecture.backbone.init_cfg.checkpoint += ".of_tomorrow"
    with pytest.raises(ValueError, match="no URL is known for 'torchvision://resnet18.of_tomorrow'.*or give a file"):
        preflight.check_weights(wrong)


def test_weights_in_a_file_that_does_not_exist(digit_scenes, tmp_path):
    wrong = config(digit_scenes)
    wrong.model.architecture.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "weights.pth"))
    with pytest.raises(FileNotFoundError, match="the checkpoint of init_cfg '.*weights.pth' does not exist.*nt=FILE"):
        preflight.check_weights(wrong)
    (tmp_path / "weights.pth").touch()
    preflight.check_weights(wrong)


def test_a_gpu_and_an_mmcv_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    installation.check_operators()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("mmcv.ops.get_compiling_cuda_version", lambda: "12.8")
    installation.check_operators()
    monkeypatch.setattr("mmcv.ops.get_compiling_cuda_version", lambda: "not available")
    with pytest.raises(ValueError, match="torch sees a GPU but mmcv has no CUDA operators.*FORCE_CUDA=1.*install.md"):
        installation.check_operators()


def test_load_from_without_weights(tmp_path):
    """MMEngine would load nothing, without a word."""
    given = Config(dict(model=retinanet(), load_from=str(tmp_path / "empty.pth")))
    torch.save({}, given.load_from)
    with pytest.raises(ValueError, match="load_from '.*empty.pth' holds no weights, it is empty"):
        preflight.check_weights(given)
    given.load_from = str(tmp_path)
    with pytest.raises(ValueError, match="load_from '.*' is a folder: give a file in it, such as '.*empty.pth'"):
        preflight.check_weights(given)


def test_a_folder_as_teacher(tmp_path):
    torch.save({}, tmp_path / "student_epoch_3.pth")
    with pytest.raises(ValueError, match="model.teacher_ckpt '.*' is a folder: .*student_epoch_3.pth'"):
        preflight.check_weights(Config(dict(model=distillation(teacher_ckpt=str(tmp_path)))))
