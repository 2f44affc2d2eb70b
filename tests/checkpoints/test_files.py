"""Weights from files and downloads, and their sha256."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

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


def safetensors(path):
    header = b'{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def ultralytics(path):
    """The names alone matter: the pickle is never run."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", b"\x80\x02cultralytics.nn.tasks\nDetectionModel\nq\x00.")


def of_json(content):
    return lambda path: path.write_text(json.dumps(content))


def begins(content):
    return lambda path: path.write_bytes(content)


FOREIGN = [
    ("best.pt", ultralytics, "a model of Ultralytics, pickled .* `pcka-mmdet pseudo-label --results FILE`"),
    ("model.onnx", begins(b"\x08\x07\x12\x07pytorch"), "an ONNX graph, .* give the .pth file it was made from"),
    ("onnx.pth", begins(b"\x08\x08\x12\x07pytorch\x1a"), "an ONNX graph"),
    ("model.safetensors", safetensors, r"a safetensors file; convert it: .*torch.save\({'state_dict': load_file\(FILE"),
    ("results.bbox.json", of_json([dict(image_id=1, score=0.5)]), "a JSON file, such as annotations or detections; gi"),
    ("train.json", of_json(dict(images=[], annotations=[])), "a JSON file, such as annotations or detections; give a"),
    ("notes.txt", begins(b"no weights"), "a text file"),
    ("teacher.pth", begins(b"<!DOCTYPE html><html>"), "a web page; the download led to a page, such as a login"),
    ("teacher.pth", begins(b"version https://git-lfs.github.com/spec/v1"), "a pointer of Git LFS.* `git lfs pull`"),
    ("teacher.pth", begins(b""), "an empty file; copy or download it again"),
    ("teacher.pth.gz", begins(b"\x1f\x8b\x08"), "compressed by gzip; unpack it"),
    ("weights.h5", begins(b"\x89HDF\r\n"), "an HDF5 file, as Keras writes"),
    ("teacher.pth", begins(b"PK\x03\x04 and no more"), "damaged: cut off, or changed; copy or download it again"),
    ("a.npz", lambda path: np.savez(path, a=np.ones(2)), "a zip archive that torch has not written; unpack it"),
]


@pytest.mark.parametrize("name, write, said", FOREIGN, ids=[f"{entry[0]}-{i}" for i, entry in enumerate(FOREIGN)])
def test_a_file_of_another_kind(tmp_path, name, write, said):
    """It is said by every reading: as a teacher, and as initial weights that MMEngine loads."""
    write(tmp_path / name)
    expected = f"{tmp_path / name}' cannot be read as a checkpoint: it is {said}"
    with pytest.raises(ValueError, match=f"^teacher_ckpt '{expected}") as raised:
        read_weights(str(tmp_path / name))
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=f"^'{expected}"):
        CheckpointLoader.load_checkpoint(str(tmp_path / name))


def test_a_model_for_inference(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "scripted.pt")
    with pytest.raises(
        ValueError, match="it is a TorchScript model, for inference; give the .pth file of the training"
    ):
        read_weights(str(tmp_path / "scripted.pt"))


def test_a_folder_in_place_of_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="is a folder: it holds no .pth file"):
        read_weights(str(tmp_path))
    for name in ("student_epoch_3.pth", "epoch_3.pth"):
        save(tmp_path / name)
    with pytest.raises(
        ValueError, match="teacher_ckpt .* is a folder: give a file in it, such as .*student_epoch_3.pth'"
    ):
        read_weights(str(tmp_path))


@pytest.mark.parametrize(
    "content, said",
    [
        ({}, "holds no weights, it is empty: expected a `state_dict` of tensors"),
        ([1], "holds no weights, but a list"),
        (dict(state_dict=7), "holds no weights, but a int"),
        (dict(state_dict=dict(weight="text")), r"holds no weights: .*, and it has 'weight' \(a str\)"),
        (
            dict(model=dict(a=torch.ones(1)), epoch=3),
            r"holds no weights: .*, and it has 'model' \(a dict\), 'epoch' \(a int\)",
        ),
    ],
)
def test_a_checkpoint_without_weights(tmp_path, content, said):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=f"teacher_ckpt .*x.pth' {said}"):
        read_weights(str(tmp_path / "x.pth"))


def test_a_download_that_was_damaged(hub):
    save(hub / "model.pth", weight=torch.ones(1000))
    content = bytearray((hub / "model.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (hub / "model.pth").write_bytes(content)
    for read in (read_weights, CheckpointLoader.load_checkpoint):
        with pytest.raises(ValueError, match=f"{hub}/model.pth' cannot be read as a checkpoint: it is damaged"):
            read(URL.format("model.pth"))


def test_a_file_without_checksums_is_loaded_with_a_word(tmp_path, monkeypatch):
    """torch's format before 1.6; published files have the beginning of their sha256 in their names."""
    said = []
    monkeypatch.setattr("pcka_mmdet.checkpoints.files.print_log", lambda text, *_: said.append(text))
    path = tmp_path / "model.pth"
    torch.save(dict(state_dict={"weight": torch.ones(2)}), path, _use_new_zipfile_serialization=False)
    sha256 = read_weights(str(path))[1]
    assert len(said) == 1 and said[0].endswith(f"no checksums: damage would not be seen. Its sha256 is {sha256}")
    assert read_weights(str(path.rename(tmp_path / f"model-{sha256[:8]}.pth")))[1] == sha256 and len(said) == 1


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
