"""Labelling images by a teacher from its checkpoint, and from files of detections."""

import json
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from rich.console import Console

from pcka_mmdet import pseudo_label
from pcka_mmdet.cli import make_parser
from pcka_mmdet.cli.pseudo_label import run, show
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.images import read_images
from pcka_mmdet.demo.config import move_data_root
from pcka_mmdet.pseudo_labels import detect, label
from pcka_mmdet.pseudo_labels.sources import ResultFiles
from tests.programs import ForkedProgram

THRESHOLD = 0.0105
"""About the middle of an untrained head's scores, for which its bias gives 0.01."""


@pytest.fixture(scope="module")
def teacher(digit_scenes, tmp_path_factory) -> tuple[Path, Path]:
    """Config and checkpoint of the demo's untrained student."""
    folder = tmp_path_factory.mktemp("teacher")
    config = Config.fromfile("configs/demo/student.py")
    move_data_root(config, str(digit_scenes))
    config.model.test_cfg.update(score_thr=0.0, max_per_img=20)
    config.test_dataloader.batch_size = 1
    config.dump(folder / "teacher.py")
    torch.manual_seed(0)
    torch.save(dict(state_dict=build_detector(config.model).state_dict()), folder / "teacher.pth")
    return folder / "teacher.py", folder / "teacher.pth"


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Ids of the images that a detector has seen."""
    seen: list[int] = []
    write = detect.DetectionWriter.after_test_iter

    def note(self, runner, batch_idx, data_batch=None, outputs=None):
        seen.extend(sample.img_id for sample in outputs)
        write(self, runner, batch_idx, data_batch, outputs)

    monkeypatch.setattr(detect.DetectionWriter, "after_test_iter", note)
    return seen


def test_a_detector_trains_on_the_file(teacher, digit_scenes, tmp_path):
    labels = pseudo_label([teacher], digit_scenes / "test", tmp_path / "pseudo.json", threshold=THRESHOLD)
    content = json.loads((tmp_path / "pseudo.json").read_text())
    names = [category["name"] for category in content["categories"]]
    assert names == list("0123456789") and len(content["images"]) == labels.counts.images == 4
    boxes = content["annotations"]
    assert 0 < len(boxes) == sum(labels.counts.sure.values()) and labels.counts.unsure == 0
    assert all(box["score"] >= THRESHOLD - 1e-4 and not box["iscrowd"] for box in boxes)
    assert content["info"]["thresholds"]["3"] == [THRESHOLD, THRESHOLD] and content["info"]["val"] is None
    assert list(tmp_path.iterdir()) == [tmp_path / "pseudo.json"]
    config = Config.fromfile(teacher[0])
    dataset = config.train_dataloader.dataset
    dataset.update(ann_file=str(tmp_path / "pseudo.json"), data_prefix=dict(img=str(digit_scenes / "test")))
    init_default_scope("mmdet")
    samples = [item["data_samples"] for item in DATASETS.build(dataset)]
    assert sum(len(sample.gt_instances) for sample in samples) == len(boxes)


def test_thresholds_come_from_labelled_images(teacher, digit_scenes, tmp_path, warned):
    val = f"{digit_scenes / 'annotations' / 'val.json'}:{digit_scenes / 'val'}"
    by_file = pseudo_label([teacher], digit_scenes / "test", tmp_path / "a.json", val=val)
    by_config = pseudo_label([teacher], digit_scenes / "test", tmp_path / "b.json")
    assert 0 <= by_file.ap == by_config.ap < 0.2
    never = [one.name for one in by_file.thresholds if one.sure == float("inf")]
    assert never and warned[0].startswith(f"no score makes boxes of {never} sure enough on the labelled images")
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert a["annotations"] == b["annotations"] and a["info"]["val"] == b["info"]["val"] == val
    with pytest.raises(ValueError, match=r"the AP on 4 labelled images is 0.\d+, below --at-least 0.5: its boxes"):
        pseudo_label([teacher], digit_scenes / "test", tmp_path / "c.json", val=val, at_least=0.5)
    assert not (tmp_path / "c.json").exists()


def test_classes_that_the_labelled_images_lack_are_named(teacher, digit_scenes, tmp_path, warned):
    content = json.loads((digit_scenes / "annotations" / "val.json").read_text())
    gone = [category["id"] for category in content["categories"] if category["name"] in "89"]
    for key, id_key in ("categories", "id"), ("annotations", "category_id"):
        content[key] = [entry for entry in content[key] if entry[id_key] not in gone]
    (tmp_path / "val.json").write_text(json.dumps(content))
    val = f"{tmp_path / 'val.json'}:{digit_scenes / 'val'}"
    labels = pseudo_label([teacher], digit_scenes / "test", tmp_path / "pseudo.json", val=val)
    assert [one.name for one in labels.thresholds] == list("01234567")
    assert warned[0].startswith("the labelled images have no categories for 2 classes of the teacher (8, 9): their")


def test_an_interrupted_run_goes_on(teacher, digit_scenes, tmp_path, counted, monkeypatch):
    out = tmp_path / "pseudo.json"
    whole = pseudo_label([teacher], digit_scenes / "test", tmp_path / "whole.json", threshold=THRESHOLD)
    assert counted == [1, 2, 3, 4]
    counted.clear()
    write = detect.DetectionWriter.after_test_iter

    def fail(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx == 2:
            with self.file.open("a") as file:
                file.write("[3, [[[0.0, 1")  # as a killed process leaves it
            raise KeyboardInterrupt
        write(self, runner, batch_idx, data_batch, outputs)

    with monkeypatch.context() as patch:
        patch.setattr(detect.DetectionWriter, "after_test_iter", fail)
        with pytest.raises(KeyboardInterrupt):
            pseudo_label([teacher], digit_scenes / "test", out, threshold=THRESHOLD)
    assert not out.exists()
    counted.clear()
    shutil.copytree(tmp_path / "pseudo.json.parts", tmp_path / "kept")
    labels = pseudo_label([teacher], digit_scenes / "test", out, threshold=THRESHOLD)
    assert counted == [3, 4] and labels.counts == whole.counts  # with the same process id too, as in a container
    assert (
        json.loads(out.read_text())["annotations"] == json.loads((tmp_path / "whole.json").read_text())["annotations"]
    )
    # other images, or another setting, do not take what was found before
    shutil.copytree(tmp_path / "kept", tmp_path / "pseudo.json.parts")
    counted.clear()
    options = {"model.test_cfg.max_per_img": 3}
    pseudo_label([teacher], digit_scenes / "test", out, threshold=THRESHOLD, cfg_options=options)
    assert counted == [1, 2, 3, 4]


def test_two_teachers_and_augmentation(teacher, digit_scenes, tmp_path, counted):
    images = digit_scenes / "test"
    one = pseudo_label([teacher], images, tmp_path / "one.json", threshold=0.0)
    config = Config.fromfile(teacher[0])
    config.model.test_cfg.max_per_img = 10
    config.dump(tmp_path / "other.py")
    counted.clear()
    both = pseudo_label([teacher, (tmp_path / "other.py", teacher[1])], images, tmp_path / "two.json", threshold=0.0)
    assert len(counted) == 8 and 0 < sum(both.counts.sure.values()) <= sum(one.counts.sure.values())
    counted.clear()
    seen = pseudo_label([teacher], images, tmp_path / "tta.json", threshold=0.0, tta=True)
    assert counted == [1, 2, 3, 4]
    assert sum(seen.counts.sure.values()) > sum(one.counts.sure.values())  # from four views


def test_all_processes_read_before_the_parts_are_deleted(teacher, digit_scenes, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(label, "barrier", lambda: calls.append((tmp_path / "pseudo.json.parts").is_dir()))
    pseudo_label([teacher], digit_scenes / "test", tmp_path / "pseudo.json", threshold=THRESHOLD)
    assert calls == [True]


def test_settings_of_the_config_are_those_of_its_labelled_images_too(teacher, digit_scenes, tmp_path):
    prefix, train = "val_dataloader.dataset", digit_scenes / "annotations" / "train.json"
    options = {f"{prefix}.ann_file": str(train), f"{prefix}.data_prefix.img": str(digit_scenes / "train")}
    pseudo_label([teacher], digit_scenes / "test", tmp_path / "pseudo.json", cfg_options=options)
    content = json.loads((tmp_path / "pseudo.json").read_text())
    assert content["info"]["val"] == f"{train}:{digit_scenes / 'train'}"


def test_two_processes_write_what_one_does(teacher, digit_scenes, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = ["pseudo-label", *teacher, digit_scenes / "test", "--threshold", THRESHOLD, "--out", tmp_path / "two.json"]
    shared = dict(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port, OMP_NUM_THREADS="1", PATH="")
    programs = []
    for rank in "01":
        output = [tmp_path / f"stdout{rank}", tmp_path / f"stderr{rank}"]
        line = [sys.executable, "-m", "pcka_mmdet", *words, "--launcher", "pytorch"]
        programs.append(ForkedProgram(line, output, environment=dict(shared, RANK=rank, LOCAL_RANK=rank)))
    assert [program.wait(120) for program in programs] == [0, 0], (tmp_path / "stderr0").read_text()
    assert "two.json: 4 images" in (tmp_path / "stdout0").read_text()
    assert "4 images" not in (tmp_path / "stdout1").read_text()
    pseudo_label([teacher], digit_scenes / "test", tmp_path / "one.json", threshold=THRESHOLD)
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one["annotations"] == two["annotations"]


@pytest.fixture
def results(digit_scenes, tmp_path) -> dict[str, Path]:
    """Files of another framework: each object of a split, its class by name, with a score that grows with its id."""
    files = {}
    for split in ("val", "test"):
        content = json.loads((digit_scenes / "annotations" / f"{split}.json").read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        rows = [
            dict(
                image_id=Path(names[box["image_id"]]).stem,
                category_id=f"digit {box['category_id'] - content['categories'][0]['id']}",
                bbox=box["bbox"],
                score=0.5 + box["id"] / 1000,
            )
            for box in content["annotations"]
        ]
        files[split] = tmp_path / f"{split}_results.json"
        files[split].write_text(json.dumps(rows))
    files["classes"] = tmp_path / "classes.json"
    files["classes"].write_text(json.dumps({f"digit {n}": str(n) for n in range(10)}))
    return files


def test_detections_of_another_framework(results, digit_scenes, tmp_path):
    val = f"{digit_scenes / 'annotations' / 'val.json'}:{digit_scenes / 'val'}"
    sides = ResultFiles(results["test"], results["val"], results["classes"])
    labels = pseudo_label(sides, digit_scenes / "test", tmp_path / "pseudo.json", val=val)
    assert labels.ap == pytest.approx(1, abs=0.01)
    truth = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    found = json.loads((tmp_path / "pseudo.json").read_text())
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    given = {image["id"]: image["file_name"] for image in found["images"]}
    by_class = {one.name: one for one in labels.thresholds}
    boxes = {(given[box["image_id"]], box["category_id"], *box["bbox"]) for box in found["annotations"]}
    wanted = {
        (names[box["image_id"]], box["category_id"], *np.round(box["bbox"], 2))
        for box in truth["annotations"]
        if 0.5 + box["id"] / 1000 >= by_class[str(box["category_id"] - truth["categories"][0]["id"])].unsure
    }
    assert boxes == wanted and boxes


def test_the_command(teacher, results, digit_scenes, tmp_path, capsys, monkeypatch):
    def call(*words):
        run(make_parser("pseudo-label").parse_args(["pseudo-label", *map(str, words)]))

    out = tmp_path / "pseudo.json"
    files = ["--results", results["test"], "--classes", results["classes"]]
    call(digit_scenes / "test", *files, "--threshold", 0.5, "--out", out)
    said = capsys.readouterr().out
    assert f"{out}: 4 images" in said and "0 images without a box" in said and "boxes an image" in said
    images = digit_scenes / "test"
    for words, message in [
        ([images, "--threshold", 0.5], r"give TEACHER CHECKPOINT IMAGES: got"),
        ([*teacher, images, *files], r"give IMAGES --results FILE: got"),
        ([images, *files, "--tta"], r"--also, --tta and --cfg-options are for teachers that run"),
        ([*teacher, images, "--classes", results["classes"]], r"--val-results and --classes go with --results"),
        ([*teacher, images, "--threshold", 0.5, "--precision", 0.9], r"--threshold takes the place of --val"),
        ([images, *files], r"give --val FILE.json:FOLDER, or --threshold SCORE"),
        (
            [images, *files, "--val", f"{digit_scenes}/annotations/val.json:{digit_scenes}/val"],
            r"give --val-results FILE",
        ),
        ([images, *files[:2], "--threshold", 0.5], r"--results with --threshold needs --classes MAP.json"),
    ]:
        with pytest.raises(ValueError, match=message):
            call(*words, "--out", out)


def test_what_is_shown(teacher, digit_scenes, tmp_path, capsys):
    labels = pseudo_label([teacher], digit_scenes / "test", tmp_path / "pseudo.json", precision=1.0)
    show(labels, Console(width=120))
    logged = capsys.readouterr()
    assert "Epoch(test)" in logged.out + logged.err and "before_run" not in logged.out + logged.err  # a list of hooks
    said = logged.out
    assert "precision and recall on labelled images, AP 0." in said and "images without a box" in said


def test_a_misspelt_setting_is_refused(teacher, digit_scenes, tmp_path):
    options = {"test_dataloder.batch_size": 1}
    with pytest.raises(ValueError, match=r"no setting 'test_dataloder.batch_size': did you mean 'test_dataloader"):
        pseudo_label([teacher], digit_scenes / "test", tmp_path / "out.json", threshold=0.5, cfg_options=options)


def test_a_teacher_without_classes_or_labelled_images(teacher, digit_scenes, tmp_path):
    config = Config.fromfile(teacher[0])
    for loader in ("train", "val", "test"):
        config[f"{loader}_dataloader"].dataset.pop("metainfo")
    config.val_dataloader = config.val_evaluator = config.val_cfg = None
    config.dump(tmp_path / "bare.py")
    images = digit_scenes / "test"
    with pytest.raises(ValueError, match=r"bare.py' has no val_dataloader: give --val FILE.json:FOLDER"):
        pseudo_label([(tmp_path / "bare.py", teacher[1])], images, tmp_path / "out.json")
    assert len(detect.teacher_classes(Config.fromfile(tmp_path / "bare.py"))) == 80  # COCO's, as MMDetection has it
    order = Config.fromfile(teacher[0])
    for loader in ("train", "test"):
        order[f"{loader}_dataloader"].dataset.metainfo.classes = tuple("9876543210")
    assert detect.teacher_classes(order) == tuple("0123456789")  # labels are numbered as in the file
    for loader in ("train", "test"):
        config[f"{loader}_dataloader"].dataset.type = "XMLDataset"
    with pytest.raises(ValueError, match=r"does not say which classes it tells apart: set test_dataloader.dataset"):
        detect.teacher_classes(config)


def test_images_of_another_size_than_their_file_says_are_refused(teacher, digit_scenes, tmp_path):
    content = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    for image in content["images"]:
        image["width"] //= 2
    (tmp_path / "images.json").write_text(json.dumps(content))
    images = f"{tmp_path / 'images.json'}:{digit_scenes / 'test'}"
    with pytest.raises(ValueError, match=r"4 of 4 images of .*: 128 x 128 pixels, and 64 x 128 in the file"):
        pseudo_label([teacher], images, tmp_path / "a.json", threshold=0.5)


def test_a_file_of_detections_in_place_of_images(tmp_path):
    (tmp_path / "found.json").write_text("[]")
    with pytest.raises(ValueError, match="is a list, as files of detections are: pcka-mmdet pseudo-label --results"):
        read_images(str(tmp_path / "found.json"))
