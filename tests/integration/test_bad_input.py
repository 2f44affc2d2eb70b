"""What goes wrong while a training runs: what the user is told, and that nothing is lost.

`docs/reliability.md` lists these.
"""

import json
import os
import shutil

import pytest
import torch

from tests.integration.conftest import tiny_demo

DISTILLED = "tests/data/distilled.py"


@pytest.fixture
def scenes(digit_scenes, tmp_path):
    """A copy of the tiny set, to be spoilt."""
    return shutil.copytree(digit_scenes, tmp_path / "scenes")


@pytest.fixture
def train(command, scenes, tmp_path):
    def run(*settings, check=False, epochs=1):
        words = ["tools/train.py", DISTILLED, "--work-dir", tmp_path / "work", *tiny_demo(scenes, epochs)]
        return command(*words, "train_cfg.val_interval=9", *settings, check=check)

    return run


def annotations(scenes, change):
    path = scenes / "annotations/train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_image_file_that_is_missing(train, scenes):
    victim = sorted((scenes / "train").iterdir())[0]
    victim.unlink()
    done = train()
    assert "No such file or directory" in done.stderr and victim.name in done.stderr
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_an_image_file_that_is_broken(train, scenes):
    victim = sorted((scenes / "train").iterdir())[0]
    victim.write_bytes(b"no image")
    done = train()
    assert "failed to load image" in done.stderr and victim.name in done.stderr
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_an_annotation_file_that_is_broken(train, scenes):
    path = scenes / "annotations/train.json"
    path.write_text(path.read_text()[:3000])
    done = train()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{str(path)!r} is no annotation file in COCO's format (JSONDecodeError: " in done.stderr


def test_a_misspelt_option_and_the_closest_name(train, tmp_path):
    done = train("model.distiller.losses.pcka.loss_wieght=2")
    assert done.returncode == 2 and "Did you mean loss_weight?" in done.stderr and "Traceback" not in done.stderr
    (log,) = (tmp_path / "work").glob("*/*.log")
    assert f"the traceback is in {log}" in done.stderr and "Traceback (most recent call last)" in log.read_text()
    done = train("train_cfg.max_epoch=2", "--traceback")
    assert "Did you mean max_epochs?" in done.stderr and "Traceback (most recent call last)" in done.stderr


def test_an_empty_training_set(train, scenes):
    annotations(scenes, lambda content: content.update(images=[], annotations=[]))
    done = train()
    assert done.returncode == 2 and "the data set of train_dataloader is empty: no image is left" in done.stderr
    assert "Traceback" not in done.stderr


def test_images_without_boxes_boxes_outside_and_a_class_more_do_no_harm(train, scenes, tmp_path):
    def spoil(content):
        first, second = (image["id"] for image in content["images"][:2])
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != first]
        content["categories"].append(dict(id=99, name="letter"))
        extra = dict(image_id=second, area=100, iscrowd=0)
        content["annotations"] += [
            dict(extra, id=10_001, category_id=1, bbox=[500, 500, 10, 10]),
            dict(extra, id=10_002, category_id=99, bbox=[5, 5, 10, 10]),
            dict(extra, id=10_003, category_id=1, bbox=[120, 120, 30, 30]),
        ]

    annotations(scenes, spoil)
    train(check=True)
    assert (tmp_path / "work/epoch_1.pth").is_file()


def test_a_whole_batch_without_boxes_does_no_harm(train, scenes, tmp_path):
    annotations(scenes, lambda content: content.update(annotations=[]))
    train(check=True)
    assert (tmp_path / "work/epoch_1.pth").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_work_directory(train, tmp_path):
    (tmp_path / "work").mkdir(mode=0o500)
    done = train()
    assert (
        done.returncode == 2 and "cannot be written to (Permission denied): name another by --work-dir" in done.stderr
    )


def test_a_work_directory_that_cannot_be(train, tmp_path):
    (tmp_path / "work").touch()
    done = train()
    assert done.returncode == 2 and "cannot be written to (File exists): name another by --work-dir" in done.stderr


def test_a_truncated_checkpoint_by_name(command, scenes, tmp_path):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    words = ["tools/train.py", DISTILLED, "--work-dir", tmp_path / "work", "--resume", tmp_path / "cut.pth"]
    done = command(*words, *tiny_demo(scenes), check=False)
    assert done.returncode == 2 and "cut.pth' is damaged: cut off, or changed: name another checkpoint" in done.stderr


def test_a_checkpoint_that_is_none(command, scenes, tmp_path):
    (tmp_path / "notes.pth").write_text("no weights")
    for file, message in (("notes.pth", "cannot be read as a checkpoint"), ("none.pth", "does not exist: give a file")):
        words = ["tools/test.py", "configs/demo/student.py", tmp_path / file, "--work-dir", tmp_path / "test"]
        done = command(*words, *tiny_demo(scenes), check=False)
        assert done.returncode == 2 and f"checkpoint {str(tmp_path / file)!r}" in done.stderr
        assert message in done.stderr


def test_an_image_file_that_is_empty(train, scenes):
    victim = sorted((scenes / "train").iterdir())[0]
    victim.write_bytes(b"")
    done = train()
    assert done.returncode == 2 and f"the image {str(victim)!r} cannot be read: OpenCV" in done.stderr


def test_a_loss_that_is_not_finite_is_kept_and_replayed(command, train, tmp_path):
    done = train("optim_wrapper.optimizer.lr=1e30", "optim_wrapper.clip_grad=None", "param_scheduler=None", epochs=3)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (path,) = (tmp_path / "work/nonfinite").glob("iter_*.pth")
    assert "not finite" in done.stderr and f"pcka-mmdet replay {path}" in done.stderr
    content = torch.load(path, weights_only=True)
    assert content["message"] in done.stderr
    again = command("tools/replay_nonfinite.py", path, check=False)
    assert again.returncode == 2 and "not finite" in again.stderr and "weights that are not finite: " in again.stdout
