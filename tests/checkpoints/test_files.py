"""Weights from files and downloads, and their sha256."""

import hashlib

import pytest
import torch

from pcka_mmdet.checkpoints.files import read_weights
from tests.detectors import build, distillation, retinanet

URL = "http://127.0.0.1:9/{}"  # nothing listens there: what is read was "downloaded" before


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder of downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def save(path, **content):
    torch.save(content or dict(state_dict={"weight": torch.ones(2, 3)}), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_and_its_sha256(tmp_path):
    expected = save(tmp_path / "model.pth", **{"module.weight": torch.ones(2, 3)})
    weights, sha256 = read_weights(str(tmp_path / "model.pth"))
    assert list(weights) == ["weight"] and sha256 == expected


def test_an_address_without_an_answer(hub):
    with pytest.raises(
        ValueError, match="9/x.pth' cannot be read as a checkpoint .*: download it elsewhere and give the"
    ):
        read_weights(URL.format("x.pth"))


@pytest.mark.parametrize("text", ["no weights", "{}", ""])
def test_a_file_that_is_no_checkpoint(tmp_path, text):
    """In a line, without torch's advice to load by its unsafe loader."""
    (tmp_path / "notes.pth").write_text(text)
    with pytest.raises(ValueError, match="notes.pth' cannot be read as a checkpoint") as raised:
        read_weights(str(tmp_path / "notes.pth"))
    assert "\n" not in str(raised.value) and "weights_only" not in str(raised.value)


def test_a_file_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = save(tmp_path / "model.pth")
    assert read_weights("~/model.pth")[1] == expected


def test_a_download_that_is_what_its_name_says(hub):
    expected = save(hub / "model.pth")
    named = hub / f"model-{expected[:8]}.pth"
    (hub / "model.pth").rename(named)
    assert read_weights(URL.format(named.name))[1] == expected


def test_a_download_that_is_not(hub):
    actual = save(hub / "model-0123abcd.pth")
    message = f"init_student .* sha256 begins with {actual[:8]}, not with 0123abcd as its name says: delete the file"
    with pytest.raises(ValueError, match=message):
        read_weights(URL.format("model-0123abcd.pth"), "init_student")


def test_a_local_file_may_have_any_name(tmp_path):
    """MMEngine's published checkpoints carry another hash."""
    expected = save(tmp_path / "model-0123abcd.pth")
    assert read_weights(str(tmp_path / "model-0123abcd.pth"))[1] == expected


def test_a_teacher_with_a_text_model_whose_keys_end_like_ours(tmp_path):
    """MM-Grounding-DINO's published files have `language_model.language_backbone...position_ids`."""
    weights = build(retinanet(width=12)).state_dict()
    weights["language_model.language_backbone.body.position_ids"] = torch.arange(4)
    weights["language_model.text_neck.bias"] = torch.zeros(4)
    torch.save(dict(state_dict=weights), tmp_path / "teacher.pth")
    model = build(distillation(teacher_ckpt=str(tmp_path / "teacher.pth"), inherit=["neck"]))
    model.init_weights()
    assert torch.equal(model.student.neck.fpn_convs[0].conv.weight, weights["neck.fpn_convs.0.conv.weight"])
