"""The messages of commands that fail."""

import json
import sys

import cv2
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, TRANSFORMS
from torch.utils.data import DataLoader

from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.configuration.sentence import sentence
from tests.detectors import build as build_model
from tests.detectors import distillation


def caught(action) -> Exception:
    with pytest.raises(Exception) as raised:
        action()
    return raised.value


def fails(error):
    def main():
        raise error

    return main


@pytest.fixture
def words(monkeypatch):
    def use(*given):
        monkeypatch.setattr(sys, "argv", ["tool", *given])

    use()
    return use


def test_the_sentence_alone_and_the_traceback_in_the_log(words, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(MMLogger, "_instance_dict", {})
    MMLogger.get_instance("run", logger_name="run", log_file=str(tmp_path / "run.log"))
    with pytest.raises(SystemExit, match="2"):
        run_tool(fails(ValueError("the patch is too large")))
    said = capsys.readouterr().err
    assert said.startswith("the patch is too large\n") and "Traceback" not in said
    assert f"the traceback is in {tmp_path / 'run.log'}" in said
    assert "Traceback" in (tmp_path / "run.log").read_text()


def test_the_traceback_on_request(words, capsys):
    words("--traceback", "config.py")
    with pytest.raises(SystemExit):
        run_tool(fails(ValueError("too large")))
    assert "Traceback" in capsys.readouterr().err and sys.argv == ["tool", "config.py"]


def test_a_missing_file(words, capsys, monkeypatch):
    monkeypatch.setattr(MMLogger, "_instance_dict", {})
    with pytest.raises(SystemExit, match="2"):
        run_tool(fails(FileNotFoundError("no config file at 'x.py'")))
    assert capsys.readouterr().err == "no config file at 'x.py'\n"


@pytest.mark.parametrize("code", [0, 130])
def test_an_exit_status_is_kept(words, code):
    with pytest.raises(SystemExit, match=str(code)):
        run_tool(fails(SystemExit(code)))


def test_an_interruption(words, capsys):
    with pytest.raises(SystemExit, match="130"):
        run_tool(fails(KeyboardInterrupt()))
    assert capsys.readouterr().err == "interrupted\n"


def test_nothing_fails(words):
    assert run_tool(lambda: None) is None


def test_a_misspelt_argument_and_the_closest_name():
    build = dict(type="pcka_mmdet.PCKALoss", loss_wieght=2.0)
    assert sentence(caught(lambda: MODELS.build(build))).endswith("'loss_wieght'. Did you mean loss_weight?")
    message = sentence(caught(lambda: MODELS.build(dict(type="pcka_mmdet.MimicLoss", xyz=1))))
    assert "unexpected keyword argument 'xyz'. It takes loss_weight" in message


def test_the_class_that_the_message_names():
    """Not another one that is being built further out."""

    def build():
        distiller = DISTILLER
        distiller.prepare(None, None, ratios=2)

    DISTILLER = MODELS.build(dict(type="pcka_mmdet.FPNDistiller", losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss"))))
    assert sentence(caught(build)).endswith("unexpected keyword argument 'ratios'. Did you mean ratio?")
    loader = caught(lambda: DataLoader([], batchsize=2))
    assert sentence(loader).endswith("unexpected keyword argument 'batchsize'. Did you mean batch_size?")
    assert sentence(TypeError("f() got an unexpected keyword argument 'x'")).endswith("argument 'x'")


def test_a_misspelt_argument_of_a_distillations_student():
    """The algorithm is on the stack, and is not initialised yet."""
    config = distillation()
    config["architecture"]["backbone"]["dpth"] = 18
    assert sentence(caught(lambda: build_model(config))).endswith(
        "unexpected keyword argument 'dpth'. Did you mean depth?"
    )


def test_the_image_that_opencv_cannot_read(tmp_path):
    image = tmp_path / "empty.jpg"
    image.write_bytes(b"")
    load = TRANSFORMS.build(dict(type="mmcv.LoadImageFromFile"))
    assert sentence(caught(lambda: load(dict(img_path=str(image))))).startswith(
        f"the image {str(image)!r} cannot be read: OpenCV"
    )


def test_an_image_that_is_missing(tmp_path):
    load = TRANSFORMS.build(dict(type="mmcv.LoadImageFromFile"))
    said = sentence(caught(lambda: load(dict(img_path=str(tmp_path / "gone.jpg")))))
    assert "gone.jpg': check data_root and data_prefix of the data loader" in said
    assert "data_root" not in sentence(caught(lambda: (tmp_path / "gone.txt").read_text()))


def test_the_file_of_broken_json(tmp_path):
    path = tmp_path / "train.json"
    path.write_text('{"images": [')

    def read():
        with path.open() as file:
            json.load(file)

    assert sentence(caught(read)).startswith(f"{str(path)!r} is no valid JSON: Expecting value")
    assert sentence(caught(lambda: json.loads("{"))).startswith("a file is no valid JSON")


def test_an_error_of_a_process_that_loads_data():
    text = (
        "Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n\nOSError: gone"
    )
    assert sentence(OSError(text)) == "OSError: gone"
    gone = text.replace("OSError: gone", "FileNotFoundError: [Errno 2] No such file or directory: 'a.jpg'")
    assert sentence(OSError(gone)).endswith(
        "'a.jpg': check data_root and data_prefix of the data loader. pcka-mmdet "
        "doctor CONFIG counts the images that are missing"
    )
    empty = cv2.error(text.replace("OSError: gone", "cv2.error: !buf.empty()\n"))
    said = "cv2.error: !buf.empty(). pcka-mmdet doctor CONFIG names image files that are missing or damaged. "
    assert sentence(empty).startswith(f"{said}To see the image, set num_workers=0")


def test_names_of_exceptions_that_say_little_without():
    assert sentence(KeyError("type")) == "KeyError: type"
    assert sentence(RuntimeError("out of memory")) == "RuntimeError: out of memory"


@pytest.mark.skipif(not hasattr(torch.serialization, "add_safe_globals"), reason="this torch has no safe loader")
def test_checkpoints_are_read_without_running_their_code(words, capsys, tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "model.pth")
    with pytest.raises(SystemExit, match="2"):
        run_tool(lambda: torch.load(tmp_path / "model.pth", weights_only=False))
    assert "torch.nn.modules.linear.Linear" in capsys.readouterr().err
