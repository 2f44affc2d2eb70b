"""The student's own config, and its plain checkpoint."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.checkpoints.student import export_student, publish, student_checkpoint, student_config
from pcka_mmdet.configuration.distillation import RECIPE_SETTINGS
from pcka_mmdet.configuration.files import load_config
from tests.detectors import build, distillation, retinanet

ZOO = "configs/retinanet/pcka-mimic_fpn_retinanet_x101_retinanet_r50_2x_coco.py"


def test_config_of_the_zoo_gives_mmdets_own(tmp_path):
    (tmp_path / "student.py").write_text('_base_ = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"')
    expected = Config.fromfile(tmp_path / "student.py").to_dict()
    config = Config.fromfile(ZOO)
    config.teacher_check = dict(at_least=0.2)
    config.custom_imports = dict(imports=["pcka_mmdet", "mine"], allow_failed_imports=False)
    config.custom_hooks = [dict(type="mmrazor.StopDistillHook", stop_epoch=3), dict(type="EMAHook")]
    config.default_hooks.checkpoint.update(type="pcka_mmdet.StudentCheckpointHook", allow_teacher_change=True)
    config.val_cfg.type = "mmrazor.SingleTeacherDistillValLoop"
    student = student_config(config).to_dict()
    assert student.pop("custom_imports") == dict(imports=["mine"], allow_failed_imports=False)
    assert student.pop("custom_hooks") == [dict(type="EMAHook")]
    assert (expected.pop("load_from"), expected.pop("resume")) == (None, False)
    student["val_cfg"]["_scope_"] = expected["val_cfg"]["_scope_"]
    assert student == expected


def test_a_plain_config_comes_back_as_it_is():
    config = Config.fromfile("configs/demo/student.py")
    assert student_config(config) is config


def checkpoint(**meta):
    model = build(distillation())
    torch.nn.init.normal_(model.student.neck.fpn_convs[0].conv.weight)
    text = Config(dict(model=distillation(), custom_hooks=[dict(type="mmrazor.StopDistillHook")])).pretty_text
    meta = dict(cfg=text, epoch=3, dataset_meta=dict(classes=("a", "b"), palette=[(1, 2, 3)]), **meta)
    content = dict(state_dict=model.state_dict(), meta=meta, optimizer={}, message_hub={})
    return content, model.student.state_dict()


def test_only_the_students_arrays_and_plain_types():
    scores = [np.float64(0.5), np.str_("a"), np.bool_(True), np.arange(2), np.array(["b", object], dtype=object)]
    content, weights = checkpoint(odd=object(), numbers=torch.tensor([1, 2]), scores=scores)
    plain = student_checkpoint(content)
    assert list(plain) == ["state_dict", "meta"]
    assert list(plain["state_dict"]) == list(weights)
    assert all(torch.equal(plain["state_dict"][key], value) for key, value in weights.items())
    meta = plain["meta"]
    assert {k: v for k, v in meta.items() if k != "cfg"} == dict(
        epoch=3,
        dataset_meta=dict(classes=("a", "b"), palette=[(1, 2, 3)]),
        numbers=[1, 2],
        scores=[0.5, "a", True, [0, 1], ["b", None]],
    )
    assert [type(score) for score in meta["scores"]] == [float, str, bool, list, list]
    config = Config.fromstring(meta["cfg"], ".py")
    assert config.model.type == "RetinaNet" and "custom_hooks" not in config
    assert "pcka_mmdet" not in meta["cfg"] and "mmrazor" not in meta["cfg"]


def test_classes_of_a_checkpoint_of_mmdetection_2():
    plain = student_checkpoint(dict(state_dict={"backbone.w": torch.zeros(1)}, meta=dict(CLASSES=("cat", "dog"))))
    assert plain["meta"]["dataset_meta"] == dict(classes=("cat", "dog"))


def test_export_of_an_mmrazor_checkpoint(tmp_path):
    """Which holds the teacher too."""
    content, weights = checkpoint()
    content["state_dict"] |= {f"teacher.{key}": value for key, value in build(retinanet(width=12)).state_dict().items()}
    torch.save(content, tmp_path / "epoch_3.pth")
    path = publish(export_student(tmp_path / "epoch_3.pth", tmp_path / "student.pth"))
    assert (tmp_path / "student.pth").read_bytes() == path.read_bytes()
    assert path.name.startswith("student-") and len(path.stem) == len("student-") + 8
    assert list(torch.load(path, weights_only=True)["state_dict"]) == list(weights)


def test_nothing_of_the_run_is_in_it():
    """A student that is tested or trained again must not resume, nor load from the distillation's folder."""
    config = Config.fromfile(ZOO)
    config.merge_from_dict(dict(resume=True, load_from="epoch_1.pth", launcher="pytorch", work_dir="work_dirs/x"))
    config.optim_wrapper.update(type="pcka_mmdet.CpuAmpOptimWrapper", loss_scale="dynamic", dtype="float16")
    config.custom_imports = dict(imports="pcka_mmdet")
    config.custom_hooks = [dict(type="StopDistillHook", _scope_="mmrazor")]
    config.log_processor.type = "pcka_mmdet.engine.hooks.console.LevelLogProcessor"  # as of a Python-style config
    config.default_hooks.checkpoint = dict(type="StudentCheckpointHook", _scope_="pcka_mmdet")
    config.default_hooks.update(similarity=dict(type="pcka_mmdet.SimilarityHook"), visualization=None)
    config.distiller, config.balance = dict(), dict()  # at the top of older configs
    config.teacher_precision, config.val_cfg = "auto", dict(type="mmrazor.SelfDistillValLoop")
    student = student_config(config)
    gone = {"resume", "load_from", "launcher", "work_dir", "custom_imports", "custom_hooks", *RECIPE_SETTINGS}
    assert not gone & student.keys()
    assert student.optim_wrapper.type == "OptimWrapper" and not {"dtype", "loss_scale"} & student.optim_wrapper.keys()
    assert student.log_processor.type == "LogProcessor"
    assert student.default_hooks.checkpoint == dict(type="CheckpointHook") and student.val_cfg.type == "ValLoop"
    assert "similarity" not in student.default_hooks and "visualization" in student.default_hooks
    assert "pcka" not in student.pretty_text


def test_a_student_as_mmrazors_configs_name_it():
    architecture = dict(cfg_path="mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", pretrained=False)
    config = Config(dict(model=dict(type="mmrazor.FpnTeacherDistill", architecture=architecture)))
    assert student_config(config).model.type == "RetinaNet" and "pretrained" not in student_config(config).model


def test_weights_that_are_not_the_configs_are_not_exported(tmp_path):
    """MMRazor's own algorithms leave out what follows `cfg_path`: these heads have another number of classes."""
    content, weights = checkpoint()
    plain = tmp_path / "plain.py"
    plain.write_text(f"model = {retinanet()!r}")
    config = Config.fromstring(content["meta"]["cfg"], ".py")
    config.model.architecture.bbox_head.num_classes = 3
    content["meta"]["cfg"] = config.pretty_text
    torch.save(content, tmp_path / "epoch_3.pth")
    message = (
        r"epoch_3.pth' cannot be read: the stored config and weights do not match: bbox_head.retina_cls.weight: shape "
        r"\(2, 16, 3, 3\) in the checkpoint, \(3, 16, 3, 3\) in the model; .* as it was trained: --config"
    )
    with pytest.raises(ValueError, match=message):
        export_student(tmp_path / "epoch_3.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
    export_student(tmp_path / "epoch_3.pth", tmp_path / "out.pth", load_config(str(plain)))
    student = torch.load(tmp_path / "out.pth")
    assert Config.fromstring(student["meta"]["cfg"], ".py").model.bbox_head.num_classes == 2
    assert student["state_dict"].keys() == weights.keys()


def test_what_is_no_distillation(tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoint '.*none.pth' does not exist"):
        export_student(tmp_path / "none.pth", tmp_path / "out.pth")
    torch.save(dict(state_dict=dict(weight=torch.ones(1))), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth' cannot be read: no key begins with 'archi"):
        export_student(tmp_path / "other.pth", tmp_path / "out.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="list.pth' cannot be read: there is no"):
        export_student(tmp_path / "list.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
