"""The tools with a classifier."""

import hashlib
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from research.classification.digit_images import build_digit_images

pytest.importorskip("mmpretrain", reason="MMPretrain is not in this environment: make classification")

DIGITS = "research/configs/classification/digits"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_digit_images(tmp_path_factory.mktemp("data") / "digits")


def test_training_and_test(command, data, tmp_path):
    """A distillation of one epoch, and its student as a plain classifier with the same accuracy."""
    options = [f"{split}_dataloader.dataset.data_root={data}" for split in ("train", "val", "test")]
    options += ["train_cfg.max_epochs=1", "train_cfg.val_interval=1", "test_dataloader.dataset.ann_file=val.txt"]
    one_epoch = ["--cfg-options", *options, "model.teacher_ckpt=random", "param_scheduler.0.total_steps=1"]
    done = command("-m", "pcka_mmdet", "train", f"{DIGITS}/rcka.py", "--work-dir", tmp_path / "run", *one_epoch)
    accuracy = accuracy_in(done)
    student = torch.load(tmp_path / "run" / "student_epoch_1.pth", weights_only=True)["state_dict"]
    assert not [key for key in student if key.startswith(("architecture", "distiller", "teacher"))]
    for config in (f"{DIGITS}/student.py", f"{DIGITS}/rcka.py"):
        words = [config, tmp_path / "run" / "student_epoch_1.pth", "--work-dir", tmp_path / "test"]
        assert accuracy_in(command("-m", "pcka_mmdet", "test", *words, "--cfg-options", *options)) == accuracy


def accuracy_in(done) -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "accuracy/top1:" in line]
    return lines[-1].partition("accuracy/top1:")[2].split()[0]


def test_cifar_without_a_network(command, tmp_path):
    """The message names the file and the folder. Nothing answers at the proxy's address."""
    nowhere = "http://127.0.0.1:9"
    options = ["--cfg-options", *(f"{split}_dataloader.dataset.data_root={tmp_path}" for split in ("train", "val"))]
    config = "research/configs/classification/cifar100/resnet20_cifar100.py"
    done = command(
        "-m",
        "pcka_mmdet",
        "train",
        config,
        "--work-dir",
        tmp_path / "run",
        *options,
        check=False,
        http_proxy=nowhere,
        https_proxy=nowhere,
        no_proxy="",
    )
    assert done.returncode == 2
    assert "put cifar-100-python.tar.gz" in done.stderr and str(tmp_path) in done.stderr


@pytest.mark.parametrize("place", ["put there", "fetched"])
def test_cifar_from_its_archive(place, tmp_path, monkeypatch):
    """Of four images, in the benchmark's format; put where the message says, or fetched by MMPretrain's downloader."""
    from mmpretrain.datasets import CIFAR100

    root, digests = tmp_path / "root", {}
    archive = (root if place == "put there" else tmp_path) / CIFAR100.filename
    archive.parent.mkdir(exist_ok=True)
    content = dict(data=np.arange(4 * 3072, dtype=np.uint8).reshape(4, 3072), fine_labels=[3, 1, 2, 0])
    with tarfile.open(archive, "w:gz") as tar:
        for name, stored in (("train", content), ("test", content), ("meta", dict(fine_label_names=list("abcd")))):
            data = pickle.dumps(stored)
            digests[name] = hashlib.md5(data).hexdigest()
            entry = tarfile.TarInfo(f"{CIFAR100.base_folder}/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    monkeypatch.setattr(CIFAR100, "url", archive.as_uri())
    monkeypatch.setattr(CIFAR100, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(CIFAR100, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", digests["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", dict(CIFAR100.meta, md5=digests["meta"]))
    config = Config.fromfile("research/configs/classification/cifar100/resnet20_cifar100.py")
    init_default_scope("mmpretrain")
    images = DATASETS.build(dict(config.train_dataloader.dataset, data_root=str(root)))
    assert [images[index]["data_samples"].gt_label.item() for index in range(len(images))] == [3, 1, 2, 0]
    assert images[0]["inputs"].shape == (3, 32, 32)


@pytest.mark.full
def test_the_demo_of_classifiers(command, data, tmp_path):
    words = ["--work-dir", tmp_path, "--data-root", data, "--seeds", 0, 1, "--epochs", 1, "--jobs", 1]
    out = command("-m", "research.classification.demo_cls", *words).stdout
    assert "accuracy on test" in out and "the table is in" in out
    rows = [line for line in (tmp_path / "results.md").read_text().splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "method",
        "---",
        "teacher",
        "student",
        "rcka",
        "kd",
        "dist",
        "pcka",
    ]
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results) == 1 + 2 * 5 and results["kd_seed1"]["epochs"] == 1
    assert results["kd_seed1"]["method"] == "kd" and results["kd_seed1"]["top1_test"] > 0
    words += ["--methods", "kd", "--split", "val", "--cfg-options", "model.distiller.losses.logits.loss_weight=3"]
    words[words.index(tmp_path)] = tmp_path / "choice"
    assert "accuracy on val" in command("-m", "research.classification.demo_cls", *words).stdout
    assert (tmp_path / "choice" / "val" / "kd_seed1_loss_weight=3").is_dir()
    chosen = json.loads((tmp_path / "choice" / "val" / "results.json").read_text())
    assert all("top1_val" in entry for entry in chosen.values())
    assert set(chosen) == {"teacher", "kd_seed0_loss_weight=3", "kd_seed1_loss_weight=3"}
    out = command("-m", "research.classification.logit_similarity", tmp_path, "--seed", 1).stdout
    assert "teacher: 0.000 from the teacher" in out and (tmp_path / "logits.png").stat().st_size > 1000
