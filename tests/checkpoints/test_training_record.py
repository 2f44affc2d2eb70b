"""Whether a work directory holds the training that is about to start there."""

import copy

import pytest
from mmengine.config import Config

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.checkpoints.resume import RECORD, check_record, training_record
from tests.detectors import distillation, retinanet


def config(model: dict | None = None, **settings) -> Config:
    dataset = dict(type="CocoDataset", data_root="here/", metainfo=dict(classes=("cat", "dog")))
    settings = {"train_cfg": dict(max_epochs=1), "work_dir": "a", "launcher": "none", **settings}
    return Config(dict(model=model or distillation(), train_dataloader=dict(dataset=dataset), **settings))


@pytest.fixture
def trained(tmp_path):
    """A work directory with a checkpoint of `config()`."""
    write_json(tmp_path / RECORD, training_record(config()))
    (tmp_path / "epoch_1.pth").touch()
    return tmp_path


def test_the_same_training_again(trained):
    """Where a run was started from, and what it resumed from, makes no difference; nor does how a config says it."""
    same = config(work_dir="b", launcher="slurm", load_from="epoch_1.pth", resume=True)
    same.train_dataloader.dataset.metainfo.classes = ["cat", "dog"]
    check_record(training_record(same), trained, resumes=True)
    with pytest.raises(
        ValueError, match="holds checkpoints of this training, .*: to go on from them write --resume, to"
    ):
        check_record(training_record(same), trained, resumes=False)
    (trained / "epoch_1.pth").unlink()  # it was killed before its first checkpoint
    check_record(training_record(same), trained, resumes=False)


def test_settings_that_a_resumed_training_takes_from_its_checkpoint(trained, monkeypatch):
    said = []
    monkeypatch.setattr("pcka_mmdet.checkpoints.resume.warn", said.append)
    check_record(training_record(config(train_cfg=dict(max_epochs=9))), trained, resumes=True)
    assert said == []
    settings = dict(optim_wrapper=dict(optimizer=dict(lr=0.1)), param_scheduler=[dict(type="MultiStepLR")])
    check_record(training_record(config(**settings)), trained, resumes=True)
    assert len(said) == 1 and "so these changes do nothing: optimizer.lr, param_scheduler" in said[0]


def test_another_config_does_not_overwrite_checkpoints(trained):
    other = config(randomness=dict(seed=1), load_from="a.pth")
    other.train_dataloader.dataset.data_root = "there/"
    with pytest.raises(
        ValueError, match=r"differs: load_from; randomness.seed; train_dataloader.dataset.data_root. Give another"
    ):
        check_record(training_record(other), trained, resumes=False)
    (trained / "epoch_1.pth").unlink()
    check_record(training_record(other), trained, resumes=False)  # there is nothing to lose


def test_a_resumed_training_may_have_other_data_a_longer_schedule_and_other_numbers(trained):
    changed = config(train_cfg=dict(max_epochs=9, val_interval=3), custom_hooks=[dict(type="EMAHook")])
    changed.train_dataloader.dataset.data_root = "there/"
    changed.model.teacher_ckpt = "moved.pth"
    changed.model.distiller.losses.pcka.loss_weight = 3.0
    changed.model.distiller.losses.none = None
    changed.train_dataloader.dataset = dict(type="RepeatDataset", times=2, dataset=changed.train_dataloader.dataset)
    check_record(training_record(changed), trained, resumes=True)


def wrong_student(model):
    model["architecture"]["type"] = "FCOS"


def wrong_teacher(model):
    model["teacher"]["type"] = "FCOS"


def wrong_loss(model):
    del model["distiller"]["losses"]["pcka"]


@pytest.mark.parametrize(
    "change, message",
    [
        (wrong_student, "model.architecture.type was 'RetinaNet' and is 'FCOS'"),
        (wrong_teacher, "model.teacher.type was 'RetinaNet' and is 'FCOS'"),
        (wrong_loss, "model.distiller.losses.pcka.type was 'pcka_mmdet.PCKALoss' and is None"),
    ],
)
def test_a_resumed_training_of_another_model(trained, change, message):
    model = copy.deepcopy(distillation())
    change(model)
    with pytest.raises(ValueError, match=f"holds another training: {message}. Resume with the config that is kept"):
        check_record(training_record(config(model)), trained, resumes=True)


def test_a_resumed_training_of_other_classes_or_without_a_teacher(trained):
    other = config()
    other.train_dataloader.dataset.metainfo.classes = ("cat", "cow")
    with pytest.raises(ValueError, match=r"classes was \[\['cat', 'dog'\]\] and is \[\['cat', 'cow'\]\]"):
        check_record(training_record(other), trained, resumes=True)
    with pytest.raises(ValueError, match="model.type was 'pcka_mmdet.FPNDistill' and is 'RetinaNet'"):
        check_record(training_record(config(retinanet())), trained, resumes=True)


def test_a_detector_named_by_a_file_is_compared_by_what_is_in_it(trained, tmp_path):
    Config(dict(model=retinanet(), default_scope="mmdet")).dump(tmp_path / "student.py")
    named = config(distillation(architecture=str(tmp_path / "student.py")))
    check_record(training_record(named), trained, resumes=True)
    with pytest.raises(ValueError, match="what differs: model.architecture._scope_. "):
        check_record(training_record(named), trained, resumes=False)


def test_folders_of_other_tools_are_taken_as_they_are(tmp_path):
    (tmp_path / "epoch_1.pth").touch()
    for resumes in (True, False):
        check_record(training_record(config()), tmp_path, resumes)
