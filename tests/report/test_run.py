"""A training's config as the report reads it, and which of its checkpoints is tested."""

import argparse
import os
import subprocess

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.cli.arguments import add_cfg_options
from pcka_mmdet.configuration.distillation import STUDENT_CONFIG
from pcka_mmdet.report import run as runs
from pcka_mmdet.report.run import Run, coco_evaluator
from tests.report.cases import CLASSES, dump, random_case


def test_code_in_a_config_is_not_run(tmp_path):
    """The folder may be somebody else's."""
    (tmp_path / "config.py").write_text(f"x = open({str(tmp_path / 'written')!r}, 'w')")
    with pytest.raises(ValueError, match="config.py' holds code: give a work directory as"):
        Run.read(tmp_path)
    assert not (tmp_path / "written").exists()


def test_the_config_as_mmengine_writes_it(tmp_path):
    config = Config(dict(model=dict(type="RetinaNet"), randomness=dict(seed=3)))
    config.dump(tmp_path / "config.py")
    run = Run.read(tmp_path)
    assert run.config.to_dict() == config.to_dict() and run.seed == 3
    assert run.config.filename == str(tmp_path / "config.py")


def test_a_training_of_a_student_config(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no config in"):
        Run.read(tmp_path)
    (tmp_path / STUDENT_CONFIG).write_text("")
    assert Run.read(tmp_path).config.filename == str(tmp_path / STUDENT_CONFIG)
    (tmp_path / "distilled.py").write_text("")
    assert Run.read(tmp_path).config.filename == str(tmp_path / "distilled.py")


def test_what_the_report_cannot_read():
    place, metric = coco_evaluator(Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="a.json"))))
    assert (place, metric["ann_file"]) == ("test_evaluator", "a.json")
    needed = r"needs a CocoMetric with an ann_file and metric='bbox' in test_evaluator, and there is \[\('"
    with pytest.raises(ValueError, match=f"{needed}VOCMetric'"):
        coco_evaluator(Config(dict(test_evaluator=dict(type="VOCMetric"))))
    masks = dict(type="CocoMetric", ann_file="a.json", metric="segm")
    with pytest.raises(ValueError, match=f"{needed}CocoMetric', 'segm'"):
        coco_evaluator(Config(dict(test_evaluator=masks)))
    both = [masks, dict(masks, metric=["bbox", "segm"])]
    assert coco_evaluator(Config(dict(test_evaluator=both)))[0] == "test_evaluator.1"
    assert coco_evaluator(Config(dict(test_evaluator=dict(metrics=both))))[0] == "test_evaluator.metrics.1"
    single = dict(metrics=dict(masks, metric="bbox"))
    assert coco_evaluator(Config(dict(test_evaluator=single)))[0] == "test_evaluator.metrics"


def test_versions_are_those_of_the_training(tmp_path):
    config = Config()

    def log(name: str, text: str, trains: bool = True) -> None:
        (tmp_path / name / "vis_data").mkdir(parents=True)
        (tmp_path / name / f"{name}.log").write_text(text)
        if trains:
            (tmp_path / name / "vis_data" / "scalars.json").write_text("{}")

    assert Run(tmp_path, config).notes == dict(command="", versions="")
    log("1", "System environment:\n    PyTorch: 2.1.0+cu121\n    OpenCV: 5.0.0\n    MMEngine: 0.10.7\n")
    log("9", "a test\n    PyTorch: 9.9\n", trains=False)
    assert Run(tmp_path, config).notes["versions"] == "PyTorch 2.1.0+cu121, MMEngine 0.10.7"
    log("2", "x - mmengine - INFO - versions: pcka_mmdet 0.1.0, onedl-mmcv 2.3.6\n    PyTorch: 2.1.0\n")
    assert Run(tmp_path, config).notes["versions"] == "pcka_mmdet 0.1.0, onedl-mmcv 2.3.6"


@pytest.fixture
def commands(monkeypatch):
    """The tests that are started, none of which runs."""
    started = []

    def run(words, **options):
        started.append(list(map(str, words)))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return started


def test_the_newest_checkpoint_or_else_the_best(tmp_path, commands):
    Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="test.json"))).dump(tmp_path / "config.py")
    with pytest.raises(ValueError, match="there is no checkpoint in '.*': finish that training first"):
        runs.tested([tmp_path])
    for name in ("best_coco_bbox_mAP_epoch_3.pth", "epoch_4.pth"):
        torch.save({}, tmp_path / name)
        (run,) = runs.tested([tmp_path])
        assert run.folder == tmp_path and str(tmp_path / name) in commands[-1]
        assert str(tmp_path / "test") in commands[-1]


def test_the_best_checkpoint_has_results_of_its_own(tmp_path, commands):
    Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="test.json"))).dump(tmp_path / "config.py")
    torch.save({}, tmp_path / "epoch_4.pth")
    with pytest.raises(ValueError, match=r"there is no best_\*.pth in .*save_best=auto, or write --which last"):
        runs.tested([tmp_path], "best")
    torch.save({}, tmp_path / "best_coco_bbox_mAP_epoch_3.pth")
    (run,) = runs.tested([tmp_path], "best")
    assert (run.which, run.results) == ("best", tmp_path / "test_best" / "predictions.bbox.json")
    assert {str(tmp_path / "best_coco_bbox_mAP_epoch_3.pth"), str(tmp_path / "test_best")} <= set(commands[-1])
    run.results.parent.mkdir()
    run.results.write_text("[]")
    runs.tested([tmp_path], "best")
    assert len(commands) == 1  # tested already


def test_results_of_an_earlier_checkpoint_are_made_anew(tmp_path, commands):
    Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="test.json"))).dump(tmp_path / "config.py")
    torch.save({}, tmp_path / "epoch_4.pth")
    (tmp_path / "test").mkdir()
    (tmp_path / runs.RESULTS).write_text("[]")
    runs.tested([tmp_path])
    assert commands == []
    os.utime(tmp_path / runs.RESULTS, (1, 1))
    runs.tested([tmp_path])
    assert len(commands) == 1


def test_a_test_that_failed(tmp_path, monkeypatch):
    Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="test.json"))).dump(tmp_path / "config.py")
    torch.save({}, tmp_path / "epoch_4.pth")
    failed = subprocess.CompletedProcess([], 2, "", "no such image\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ValueError, match="the test of .*epoch_4.pth failed: no such image$"):
        runs.tested([tmp_path])


def test_a_config_that_states_no_classes(tmp_path):
    dataset = dict(type="BaseDataset", ann_file="test.json")
    run = Run(tmp_path, Config(dict(model=dict(type="A"), test_dataloader=dict(dataset=dataset))))
    with pytest.raises(ValueError, match="states no classes"):
        run.matches  # noqa: B018


def test_the_newest_config_and_a_folder_with_a_space(tmp_path):
    """A training may go on with a config of another name."""
    folder = tmp_path / "my runs, new"
    folder.mkdir()
    for seed, name in enumerate(("z.py", "a.py")):
        config = Config(dict(randomness=dict(seed=seed), test_evaluator=dict(type="CocoMetric", ann_file="a")))
        config.dump(folder / name)
        os.utime(folder / name, (seed, seed))
    run = Run.read(folder)
    assert run.seed == 1
    *_, option = runs.words_of_test(run.config, "a.py", "a.pth", run.results)
    parser = argparse.ArgumentParser()
    add_cfg_options(parser, "")
    given = parser.parse_args(["--cfg-options", option]).cfg_options
    assert given == {"test_evaluator.outfile_prefix": str(folder / "test" / "predictions")}


def test_classes_that_the_training_set_states(tmp_path):
    content, results = random_case()
    annotations = str(dump(content, tmp_path / "a.json"))
    dataset = dict(type="BaseDataset", ann_file=annotations)
    loaders = {
        "train_dataloader": dict(dataset=dict(dataset, metainfo=dict(classes=CLASSES))),
        "test_dataloader": dict(dataset=dataset),
    }
    metric = dict(type="CocoMetric", ann_file=annotations)
    run = Run(tmp_path, Config(dict(model=dict(type="A"), test_evaluator=metric, **loaders)))
    run.results.parent.mkdir()
    dump(results, run.results)
    assert run.matches.classes == list(CLASSES)
