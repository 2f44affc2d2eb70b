"""Weights from files and downloads, and their sha256."""

import hashlib

import pytest
import torch

from pcka_mmdet.checkpoints.files import load_what_fits, of_part, read_weights
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


def test_what_fits_is_loaded_and_the_rest_is_told():
    layer = torch.nn.Linear(3, 2)
    weights = {"weight": torch.full((2, 3), 5.0), "bias": torch.zeros(4), "extra": torch.zeros(1)}
    loaded, problems = load_what_fits(layer, weights)
    assert loaded == ["weight"] and (layer.weight == 5).all()
    assert problems == ["unexpected extra", "bias: shape (4,) in the checkpoint, (2,) in the model"]
    assert load_what_fits(layer, {}) == ([], ["missing weight", "missing bias"])


class Renamed(torch.nn.Linear):
    """Takes its bias by an old name too, as MMDetection's heads do."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if f"{prefix}old_bias" in state_dict:
            state_dict[f"{prefix}bias"] = state_dict.pop(f"{prefix}old_bias")
        super()._load_from_state_dict(state_dict, prefix, *args)


def test_old_names_are_what_the_modules_say():
    model = torch.nn.Sequential(Renamed(3, 2))
    old = {"0.weight": torch.ones(2, 3), "0.old_bias": torch.full((2,), 7.0)}
    assert load_what_fits(model, old) == (["0.weight", "0.bias"], []) and (model[0].bias == 7).all()


def test_a_part_is_named_from_its_beginning():
    problems = ["missing neck.bias", "unexpected text.language_neck.bias", "neck.weight: shape (1,)", "missing necks.a"]
    assert of_part(problems, "neck") == ["missing neck.bias", "neck.weight: shape (1,)"]


def test_a_teacher_with_a_text_model_whose_keys_end_like_ours(tmp_path):
    """MM-Grounding-DINO's published files have `language_model.language_backbone...position_ids`."""
    weights = build(retinanet(width=12)).state_dict()
    weights["language_model.language_backbone.body.position_ids"] = torch.arange(4)
    weights["language_model.text_neck.bias"] = torch.zeros(4)
    torch.save(dict(state_dict=weights), tmp_path / "teacher.pth")
    model = build(distillation(teacher_ckpt=str(tmp_path / "teacher.pth"), inherit=["neck"]))
    model.init_weights()
    assert torch.equal(model.student.neck.fpn_convs[0].conv.weight, weights["neck.fpn_convs.0.conv.weight"])
