"""Checkpoints of a training, their students, and resuming."""

import copy
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.checkpoints.config_text import read_config
from pcka_mmdet.checkpoints.student import export_student
from pcka_mmdet.engine import runner as engine_runner
from pcka_mmdet.engine.hooks import student_checkpoint
from pcka_mmdet.models.outputs import tensors
from tests.detectors import build, distillation, retinanet
from tests.runners import RandomScenes, flexible_runner, runner

HOOK = dict(type="pcka_mmdet.StudentCheckpointHook", interval=1)


def images(number):
    sampler = dict(type="DefaultSampler", shuffle=True)
    return dict(dataset=RandomScenes(number), batch_size=2, sampler=sampler, num_workers=0)


def train(work_dir, epochs=2, config=None, hook=None, **options):
    """Epochs of one step."""
    options.setdefault("train_dataloader", images(2))
    hooks = dict(checkpoint={**HOOK, **(hook or {})}, logger=dict(type="LoggerHook", interval=1))
    run = runner(config or distillation(), work_dir, epochs=epochs, default_hooks=hooks, **options)
    run.train()
    return run


def checkpoint_hook(run):
    return next(hook for hook in run.hooks if isinstance(hook, student_checkpoint.StudentCheckpointHook))


def load(path):
    return torch.load(path, weights_only=True)


def test_no_teacher_and_a_plain_student_beside_each(tmp_path):
    """Where a user's files name both detectors: no checkpoint needs them to be exported."""
    files = {side: tmp_path / f"{side}.py" for side in ("architecture", "teacher")}
    files["architecture"].write_text(f"model = {retinanet()!r}")
    files["teacher"].write_text(f"model = {retinanet(width=12)!r}")
    model = distillation(architecture=dict(cfg_path=str(files["architecture"])), teacher=str(files["teacher"]))
    run = train(tmp_path, config=model, cfg=Config(dict(model=model)))
    for path in files.values():
        path.unlink()
    export_student(tmp_path / "epoch_2.pth", tmp_path / "exported.pth")
    assert load(tmp_path / "exported.pth")["meta"]["cfg"] == load(tmp_path / "student_epoch_2.pth")["meta"]["cfg"]
    config = read_config(load(tmp_path / "epoch_2.pth")["meta"]["cfg"])
    assert (config.model.architecture.type, config.model.teacher.backbone.base_channels) == ("RetinaNet", 12)
    for epoch in (1, 2):
        keys = load(tmp_path / f"epoch_{epoch}.pth")["state_dict"]
        assert {key.split(".")[0] for key in keys} == {"architecture", "distiller"}
    student = load(tmp_path / "student_epoch_2.pth")
    assert list(student) == ["state_dict", "meta"]
    for key, value in run.model.student.state_dict().items():
        assert torch.equal(student["state_dict"][key], value), key
    assert student["meta"]["dataset_meta"]["classes"] == ("a", "b")


def test_a_plain_detector_has_no_second_checkpoint(tmp_path):
    train(tmp_path, epochs=1, config=retinanet())
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch_1.pth"]


def test_of_an_average_the_student_is_what_was_averaged(tmp_path):
    run = train(tmp_path, custom_hooks=[dict(type="EMAHook", momentum=0.5)])
    average = next(hook for hook in run.hooks if type(hook).__name__ == "EMAHook").ema_model.module.student
    student = load(tmp_path / "student_epoch_2.pth")["state_dict"]
    key = "neck.fpn_convs.0.conv.weight"
    assert torch.equal(student[key], average.state_dict()[key])
    assert not torch.equal(student[key], run.model.student.state_dict()[key])
    assert not any("teacher" in key for key in load(tmp_path / "epoch_2.pth")["ema_state_dict"])


def test_old_ones_go_with_their_students_once_the_new_are_there(tmp_path, monkeypatch):
    there = []
    write = student_checkpoint.atomic_save
    monkeypatch.setattr(
        student_checkpoint,
        "atomic_save",
        lambda *what: (there.append(sorted(p.name for p in tmp_path.glob("*.pth"))), write(*what)),
    )
    train(tmp_path, epochs=3, hook=dict(max_keep_ckpts=1))
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch_3.pth", "student_epoch_3.pth"]
    assert there[2] == ["epoch_2.pth", "epoch_3.pth", "student_epoch_2.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "epoch_3.pth")


def test_best_checkpoints_have_students_too(tmp_path):
    run = train(tmp_path, epochs=1, hook=dict(save_best="score", rule="greater"))
    hook = checkpoint_hook(run)
    for epoch, score in enumerate((0.5, 0.4, 0.6)):
        run.train_loop._epoch = epoch + 1
        hook.after_val_epoch(run, dict(score=score))
    names = sorted(path.name for path in tmp_path.glob("*best*.pth"))
    assert names == ["best_score_epoch_3.pth", "student_best_score_epoch_3.pth"]


def test_a_best_value_that_the_validation_does_not_give(tmp_path):
    run = train(tmp_path, epochs=1, hook=dict(save_best="bbox_mAP", rule="greater"))
    with pytest.raises(ValueError, match=r"save_best='bbox_mAP' .* gives \['coco/bbox_mAP'\]. Write one of these"):
        checkpoint_hook(run).after_val_epoch(run, {"coco/bbox_mAP": 0.5})


def test_a_validation_without_the_best_value_saves_none(tmp_path):
    """MMDetection's metric gives nothing where nothing was detected, and a second evaluator may give a value."""
    run = train(tmp_path, epochs=1, hook=dict(save_best="coco/bbox_mAP", rule="greater"))
    checkpoint_hook(run).after_val_epoch(run, {"pascal_voc/mAP": 0.5})
    assert not list(tmp_path.glob("*best*.pth"))


@pytest.mark.parametrize("lacking", ["optimizer", "param_schedulers", "message_hub"])
def test_a_checkpoint_that_no_training_can_go_on_from(lacking, tmp_path):
    """The learning rate would begin anew."""
    schedule = dict(param_scheduler=dict(type="MultiStepLR", milestones=[1]))
    train(tmp_path, epochs=1, **schedule)
    content = load(tmp_path / "epoch_1.pth")
    del content[lacking]
    torch.save(content, tmp_path / "epoch_1.pth")
    with pytest.raises(ValueError, match=f"--resume: this checkpoint holds no {lacking}: resume from an epoch_N"):
        train(tmp_path, epochs=2, resume=True, **schedule)


def test_other_epochs_after_a_resume_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(engine_runner, "print_log", lambda text, *_: said.append(text))
    monkeypatch.setattr(engine_runner, "warn", said.append)
    train(tmp_path, epochs=1)
    train(tmp_path, epochs=2, resume=True, train_dataloader=images(4))
    assert [text.partition(":")[0] for text in said] == [
        "epochs have 2 iterations now, and 1 iterations were done in 1 epochs before"
    ]


def test_what_other_hooks_save_has_no_student_here(tmp_path):
    """Another hook saves every iteration; the best student is still the best checkpoint's."""
    snapshots = dict(type="CheckpointHook", by_epoch=False, interval=1, save_last=False, out_dir=str(tmp_path / "all"))
    run = train(tmp_path / "work", epochs=1, hook=dict(save_best="score", rule="greater"), custom_hooks=[snapshots])
    hook = checkpoint_hook(run)
    assert hook._students is None and len(list((tmp_path / "all").rglob("iter_*.pth"))) == 1
    run.train_loop._epoch = 1
    hook.after_val_epoch(run, dict(score=0.5))
    student = load(tmp_path / "work" / "student_best_score_epoch_1.pth")["state_dict"]
    whole = load(tmp_path / "work" / "best_score_epoch_1.pth")["state_dict"]
    assert all(torch.equal(value, whole[f"architecture.{key}"]) for key, value in student.items())


def test_a_best_student_of_an_older_training_is_overwritten(tmp_path):
    (tmp_path / "student_best_score_epoch_1.pth").touch()
    run = train(tmp_path, epochs=1, hook=dict(save_best="score", rule="greater"))
    hook = checkpoint_hook(run)
    run.train_loop._epoch = 1
    hook.after_val_epoch(run, dict(score=0.5))
    assert "state_dict" in load(tmp_path / "student_best_score_epoch_1.pth")


def test_the_best_student_follows_where_all_files_have_one_name(tmp_path):
    run = train(tmp_path, epochs=1, hook=dict(save_best="score", rule="greater", filename_tmpl="latest.pth"))
    for score in (0.5, 0.4, 0.6):
        with torch.no_grad():
            run.model.student.bbox_head.retina_reg.bias.fill_(score)
        checkpoint_hook(run).after_val_epoch(run, dict(score=score))
    assert load(tmp_path / "student_best_score_latest.pth")["state_dict"]["bbox_head.retina_reg.bias"][0] == 0.6


def test_a_checkpoint_from_before_gradients_were_measured_is_resumed(tmp_path):
    """As `tools/train.py` measures those of constant weights, and another runner does not."""
    train(tmp_path, epochs=1)
    run = train(tmp_path, epochs=2, config=distillation(balance=dict(ratio=None)), resume=True)
    assert run.epoch == 2 and run.model.distiller.balances["neck"].averages.all()


def test_resuming_in_a_folder_that_was_moved(tmp_path):
    hook = dict(save_best="score", rule="greater")
    run = train(tmp_path / "old", epochs=1, hook=hook)
    saver = checkpoint_hook(run)
    run.train_loop._epoch = 1
    saver.after_val_epoch(run, dict(score=0.5))
    (tmp_path / "old").rename(tmp_path / "new")
    newest = str(tmp_path / "new" / "epoch_1.pth")
    run = train(tmp_path / "new", epochs=2, hook=hook, resume=True, load_from=newest)
    saver = checkpoint_hook(run)
    saver.after_val_epoch(run, dict(score=0.4))  # no better: nothing to do
    saver.after_val_epoch(run, dict(score=0.6))
    assert (tmp_path / "new" / "student_best_score_epoch_2.pth").is_file()


def test_a_resume_that_keeps_fewer_removes_students_too(tmp_path):
    train(tmp_path, epochs=3, hook=dict(max_keep_ckpts=3))
    newest = str(tmp_path / "epoch_3.pth")
    train(tmp_path, epochs=4, hook=dict(max_keep_ckpts=1), resume=True, load_from=newest)
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch_4.pth", "student_epoch_4.pth"]


def test_one_file_that_is_written_again_and_again_stays(tmp_path):
    train(tmp_path, epochs=3, hook=dict(max_keep_ckpts=1, filename_tmpl="latest.pth"))
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["latest.pth", "student_latest.pth"]
    assert load(tmp_path / "latest.pth")["meta"]["epoch"] == 3


@pytest.mark.parametrize("make", [runner, flexible_runner])
def test_a_resumed_training_does_not_ask_for_what_its_student_started_from(make, tmp_path):
    start = tmp_path / "start.pth"
    torch.save(dict(state_dict=build(retinanet()).state_dict()), start)
    train(tmp_path / "work", epochs=1, config=distillation(init_student=str(start)))
    start.unlink()
    options = dict(default_hooks=dict(checkpoint=HOOK), resume=True)
    resumed = make(distillation(init_student=str(start)), tmp_path / "work", epochs=2, **options)
    resumed.train()
    assert resumed.epoch == 2


def test_a_copy_of_a_work_directory_leaves_the_originals_best(tmp_path):
    """With one metric, and with two that have different best checkpoints."""
    hook = dict(save_best=["score", "recall"], rule="greater")
    run = train(tmp_path / "original", epochs=1, hook=hook)
    run.train_loop._epoch = 1
    checkpoint_hook(run).after_val_epoch(run, dict(score=0.5, recall=0.5))
    run.save_checkpoint(str(tmp_path / "original"), "epoch_1.pth")
    before = sorted(path.name for path in (tmp_path / "original").iterdir())
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    newest = str(tmp_path / "copy" / "epoch_1.pth")
    run = train(tmp_path / "copy", epochs=2, hook=hook, resume=True, load_from=newest)
    checkpoint_hook(run).after_val_epoch(run, dict(score=0.6, recall=0.4))
    assert sorted(path.name for path in (tmp_path / "original").iterdir()) == before
    best = sorted(path.name for path in (tmp_path / "copy").glob("best*"))
    assert best == ["best_recall_epoch_1.pth", "best_score_epoch_2.pth"]
    hook = dict(save_best="recall", rule="greater")
    saver = checkpoint_hook(train(tmp_path / "one", epochs=1, hook=hook))
    saver.best_ckpt_path = str(tmp_path / "original" / "best_recall_epoch_1.pth")
    saver._keep_to_own_folder()
    assert saver.best_ckpt_path == str(tmp_path / "one" / "best_recall_epoch_1.pth")


def test_a_student_that_is_missing_is_made_up_for(tmp_path, monkeypatch):
    """The kill came between checkpoint and student, or the training is finished: no epoch is left."""
    said = []
    monkeypatch.setattr(student_checkpoint, "warn", said.append)
    monkeypatch.setattr(engine_runner, "print_log", lambda text, *_: said.append(text))
    hook = dict(save_best="score", rule="greater")
    run = train(tmp_path, epochs=1, hook=hook)
    run.train_loop._epoch = 1
    checkpoint_hook(run).after_val_epoch(run, dict(score=0.5))
    run.save_checkpoint(str(tmp_path), "epoch_1.pth")
    students = sorted(tmp_path.glob("student_*.pth"))
    written = [load(path) for path in students]
    students[0].unlink()
    students[1].write_bytes(b"an older training's")
    os.utime(students[1], (1, 1))
    train(tmp_path, epochs=1, hook=hook, resume=True)
    assert len(students) == 2 and sorted(tmp_path.glob("student_*.pth")) == students
    for path, before in zip(students, written, strict=True):
        torch.testing.assert_close(load(path)["state_dict"], before["state_dict"], rtol=0, atol=0)
        assert load(path)["meta"]["dataset_meta"] == before["meta"]["dataset_meta"]
        assert f"{str(path)!r} was missing and has been written" in said
    students[0].unlink()
    (tmp_path / students[0].name.removeprefix("student_")).write_bytes(b"damaged")
    train(tmp_path, epochs=1, hook=hook, resume=True)
    complete = "the training is complete: all 1 epochs are done"
    assert not students[0].exists() and said.count(complete) == 2 and len(said) == 4


def test_a_validation_moves_no_random_numbers():
    """Neither of the training, nor in the best checkpoint, which is saved in it."""
    hook, checkpoint, before = student_checkpoint.StudentCheckpointHook(), {}, torch.get_rng_state()
    hook.before_val(None)
    torch.rand(3)
    hook.before_save_checkpoint(SimpleNamespace(model=torch.nn.Identity()), checkpoint)
    assert torch.equal(checkpoint["random_state"]["torch"], before)
    hook.after_val(None)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_elsewhere_gets_no_student(tmp_path):
    train(tmp_path / "there", epochs=1)
    (tmp_path / "there" / "student_epoch_1.pth").unlink()
    train(tmp_path / "here", resume=True, load_from=str(tmp_path / "there" / "epoch_1.pth"))
    assert not list((tmp_path / "there").glob("student_*.pth"))


def test_an_option_that_the_hook_does_not_have():
    """MMEngine finds it out at the first save."""
    with pytest.raises(ValueError, match="the checkpoint hook has no option 'save_bset': did you mean 'save_best'?"):
        student_checkpoint.StudentCheckpointHook(save_bset="auto")


def saved_teacher(path, seed):
    torch.manual_seed(seed)
    teacher = build(retinanet(width=12))
    for parameter in teacher.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(dict(state_dict=teacher.state_dict()), path)
    return str(path)


def test_another_teacher_is_refused_unless_it_is_meant(tmp_path):
    first, second = (saved_teacher(tmp_path / f"{seed}.pth", seed) for seed in (1, 2))
    work, again = tmp_path / "work", tmp_path / "again"
    for folder in (work, again):
        train(folder, epochs=1, config=distillation(teacher_ckpt=first))
    sha256 = load(work / "epoch_1.pth")["meta"]["teacher_sha256"]
    assert len(sha256) == 64
    with pytest.raises(
        ValueError, match=f"the teacher's file has the sha256 .*, .* teacher of {sha256}: give that file"
    ):
        train(work, config=distillation(teacher_ckpt=second), resume=True)
    run = train(work, config=distillation(teacher_ckpt=second), resume=True, hook=dict(allow_teacher_change=True))
    assert run.epoch == 2
    os.rename(first, tmp_path / "moved.pth")  # the same file by another name
    assert train(again, config=distillation(teacher_ckpt=str(tmp_path / "moved.pth")), resume=True).epoch == 2


def test_a_checkpoint_of_another_training_is_refused_by_key(tmp_path):
    train(tmp_path, epochs=1)
    path = tmp_path / "epoch_1.pth"
    content = load(path)
    content["state_dict"]["distiller.extra"] = content["state_dict"].pop("architecture.neck.fpn_convs.0.conv.bias")
    torch.save(content, path)
    message = (
        "not of this training: missing architecture.neck.fpn_convs.0.conv.bias; unexpected distiller.extra. Resume"
    )
    with pytest.raises(ValueError, match=message):
        train(tmp_path, resume=True)


def test_a_checkpoint_that_holds_a_teacher_as_mmrazors_do_still_resumes(tmp_path):
    train(tmp_path, epochs=1)
    content = load(tmp_path / "epoch_1.pth")
    content["state_dict"]["teacher.backbone.conv1.weight"] = torch.zeros(1)
    content["meta"]["config"] = f"open({str(tmp_path / 'ran')!r}, 'w').close()"  # which MMEngine runs
    torch.save(content, tmp_path / "epoch_1.pth")
    assert train(tmp_path, resume=True).epoch == 2
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_is_as_large_as_the_plain_students_and_the_connectors(tmp_path):
    """Weights and the optimizer's state, without anything of the teacher."""
    config = distillation(teacher=retinanet(channels=24))
    momentum = dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9))
    run = train(tmp_path / "distilled", epochs=1, config=config, optim_wrapper=copy.deepcopy(momentum))
    train(tmp_path / "plain", epochs=1, config=retinanet(), optim_wrapper=copy.deepcopy(momentum))

    def size(folder):
        content = load(folder / "epoch_1.pth")
        return sum(tensor.nbytes for tensor in tensors([content["state_dict"], content["optimizer"]]))

    connectors = 2 * sum(parameter.nbytes for parameter in run.model.distiller.parameters())
    assert connectors > 0 and size(tmp_path / "distilled") == size(tmp_path / "plain") + connectors
