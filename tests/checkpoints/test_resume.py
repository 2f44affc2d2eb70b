"""Which checkpoint a training is resumed from."""

import os
import random

import pytest
import torch

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.checkpoints.resume import RECORD, checkpoint_to_resume, is_intact, newest_intact_checkpoint


def checkpoints(folder, *epochs):
    for epoch in epochs:
        path = folder / f"epoch_{epoch}.pth"
        torch.save(dict(epoch=epoch, weights=torch.zeros(1000)), path)
        os.utime(path, (100 - epoch, 100 - epoch))  # copies have any time
    (folder / "last_checkpoint").write_text(str(folder / f"epoch_{epochs[-1]}.pth"))


def test_resume_from_the_newest_that_is_intact(tmp_path):
    assert newest_intact_checkpoint(tmp_path) is None
    checkpoints(tmp_path, 1, 2, 3)
    torch.save({}, tmp_path / "best_bbox_mAP_epoch_9.pth")
    torch.save({}, tmp_path / "student_epoch_9.pth")
    assert newest_intact_checkpoint(tmp_path).name == "epoch_3.pth"
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_2.pth"))
    assert newest_intact_checkpoint(tmp_path).name == "epoch_2.pth"
    (tmp_path / "last_checkpoint").write_text("elsewhere/epoch_2.pth")  # the folder was moved
    assert newest_intact_checkpoint(tmp_path).name == "epoch_2.pth"
    (tmp_path / "last_checkpoint").write_text("")  # killed between opening and writing
    assert newest_intact_checkpoint(tmp_path).name == "epoch_3.pth"


def test_resume_from_where_the_pointer_shows(tmp_path):
    """With the checkpoint hook's `out_dir` and `filename_tmpl`."""
    work_dir, elsewhere = tmp_path / "work", tmp_path / "out" / "work"
    for folder in (work_dir, elsewhere):
        folder.mkdir(parents=True)
    for number in (1, 2):
        torch.save(dict(weights=torch.zeros(10)), elsewhere / f"ckpt_{number}.pth")
    (work_dir / "last_checkpoint").write_text(str(elsewhere / "ckpt_2.pth"))
    assert newest_intact_checkpoint(work_dir) == elsewhere / "ckpt_2.pth"
    (elsewhere / "ckpt_2.pth").write_bytes(b"damaged")
    assert newest_intact_checkpoint(work_dir) == elsewhere / "ckpt_1.pth"
    (elsewhere / "ckpt_2.pth").unlink()
    torch.save({}, work_dir / "epoch_1.pth")  # of an older training
    assert newest_intact_checkpoint(work_dir) == elsewhere / "ckpt_1.pth"
    (elsewhere / "ckpt_1.pth").unlink()
    with pytest.raises(
        ValueError, match=r"no checkpoint in '.*out/work' is intact \(there are none\): delete them and"
    ):
        newest_intact_checkpoint(work_dir)


def test_a_pointer_to_another_machine_is_followed(tmp_path):
    (tmp_path / "last_checkpoint").write_text("s3://bucket/runs/work/epoch_3.pth\n")
    assert checkpoint_to_resume("newest", tmp_path) == "s3://bucket/runs/work/epoch_3.pth"


def test_a_copy_of_a_work_directory_resumes_from_its_own(tmp_path):
    for name in ("original", "copy"):
        (tmp_path / name).mkdir()
        checkpoints(tmp_path / name, 1, 2)
    checkpoints(tmp_path / "original", 9)
    (tmp_path / "copy" / "last_checkpoint").write_text(str(tmp_path / "original" / "epoch_2.pth"))
    assert newest_intact_checkpoint(tmp_path / "copy") == tmp_path / "copy" / "epoch_2.pth"
    (tmp_path / "copy" / "epoch_2.pth").write_bytes(b"damaged")
    assert newest_intact_checkpoint(tmp_path / "copy") == tmp_path / "copy" / "epoch_1.pth"


def test_no_student_is_resumed_from_by_a_name_that_looks_like_it(tmp_path):
    """With `filename_tmpl='{}.pth'`."""
    for name in ("2.pth", "3.pth", "student_3.pth"):
        torch.save({}, tmp_path / name)
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "3.pth"))
    (tmp_path / "3.pth").write_bytes(b"damaged")
    assert newest_intact_checkpoint(tmp_path) == tmp_path / "2.pth"


def test_a_checkpoint_to_resume_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="--resume: there is no file 'gone.pth'"):
        checkpoint_to_resume("gone.pth", tmp_path)


def test_resume_without_a_checkpoint(tmp_path):
    """A mistyped folder is told; a training that was stopped before its first checkpoint begins again."""
    assert checkpoint_to_resume("auto", tmp_path) is None
    with pytest.raises(
        ValueError, match="no checkpoint in '.*', and no training began there. Name its folder by --wor"
    ):
        checkpoint_to_resume("newest", tmp_path)
    write_json(tmp_path / RECORD, {})
    assert checkpoint_to_resume("newest", tmp_path) is None
    torch.save({}, tmp_path / "best_coco_bbox_mAP_epoch_3.pth")
    with pytest.raises(ValueError, match="'best_coco_bbox_mAP_epoch_3.pth' is the only .*checkpoint.interval=1 keeps"):
        checkpoint_to_resume("newest", tmp_path)
    assert checkpoint_to_resume("auto", tmp_path) is None
    checkpoints(tmp_path, 1)
    assert checkpoint_to_resume("newest", tmp_path) == checkpoint_to_resume("auto", tmp_path)
    assert checkpoint_to_resume("newest", tmp_path) == str(tmp_path / "epoch_1.pth")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_ones_are_passed_over_with_a_warning(damage, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("pcka_mmdet.checkpoints.resume.warn", said.append)
    checkpoints(tmp_path, 1, 2)
    path = tmp_path / "epoch_2.pth"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not is_intact(path)
    assert newest_intact_checkpoint(tmp_path).name == "epoch_1.pth"
    assert len(said) == 1 and "epoch_2.pth' is damaged: going back to the one before" in said[0]
    (tmp_path / "epoch_1.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"is intact \(epoch_2.pth, epoch_1.pth\): delete them and .* to start from"):
        newest_intact_checkpoint(tmp_path)


def test_whatever_bit_is_flipped_it_is_found_or_does_no_harm(tmp_path):
    """Half of them in the zip file's directory, which its checksums do not cover."""
    model = torch.nn.Linear(6, 5)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(6)).sum().backward()
    optimizer.step()
    path, written = tmp_path / "epoch_1.pth", dict(weights=model.state_dict(), optimizer=optimizer.state_dict())
    torch.save(written, path)
    content = path.read_bytes()
    directory, bits = 8 * content.index(b"PK\1\2"), random.Random(0)
    places = [bits.randrange(8 * len(content)) for _ in range(40)]
    places += [bits.randrange(directory, 8 * len(content)) for _ in range(40)]
    found = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        if is_intact(path):
            torch.testing.assert_close(torch.load(path), written, rtol=0, atol=0)
        else:
            found += 1
    assert 40 < found < 80


def test_a_folder_attribute_would_leave_an_array_unread(tmp_path):
    path = tmp_path / "epoch_1.pth"
    weights = torch.arange(1000.0)  # kept: else the unread array may get this one's memory, and its values
    torch.save(dict(weights=weights), path)
    content = bytearray(path.read_bytes())
    name = content.rindex(b"/data/0") - len("epoch_1")
    content[name - 8] |= 0x10  # of the entry's external attributes
    path.write_bytes(content)
    assert torch.load(path)["weights"][5] != 5 and not is_intact(path)


def test_a_type_that_torch_refuses_is_no_damage(tmp_path):
    torch.save(dict(path=tmp_path), tmp_path / "epoch_1.pth")
    assert is_intact(tmp_path / "epoch_1.pth")


def test_a_damaged_pointer_is_no_pointer(tmp_path):
    checkpoints(tmp_path, 1, 2)
    (tmp_path / "last_checkpoint").write_bytes(b"/some\xff\0where/epoch_\xfe.pth")
    assert newest_intact_checkpoint(tmp_path).name == "epoch_2.pth"
