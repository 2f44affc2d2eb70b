"""The folder: valid COCO, made once, whole or not at all, and never at the cost of other files."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import pcka_mmdet.demo
from pcka_mmdet.demo import CLASSES, SPLITS, build, build_digit_scenes, digit_scenes

TINY = {"train": 2, "val": 1, "test": 1}


def snapshot(root: Path) -> dict:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in root.rglob("*")}


def test_pycocotools_reads_it(small_set):
    for split, size in (("train", 32), ("val", 16), ("test", 16)):
        coco = COCO(small_set.root / "annotations" / f"{split}.json")
        assert len(coco.imgs) == size and len(coco.anns) == len(small_set.annotations(split)["annotations"])
        assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == list(enumerate(CLASSES, start=1))
        for image in coco.imgs.values():
            assert (small_set.root / split / image["file_name"]).is_file()
            assert len(coco.getAnnIds(imgIds=image["id"])) >= 2
        for annotation in coco.anns.values():
            x, y, width, height = annotation["bbox"]
            assert 0 <= x < x + width <= 128 and 0 <= y < y + height <= 128
            assert annotation["area"] == width * height and annotation["iscrowd"] == 0


def test_the_ground_truth_scores_1(small_set):
    coco = COCO(small_set.root / "annotations" / "val.json")
    keys = ("image_id", "category_id", "bbox")
    found = coco.loadRes([{**{key: ann[key] for key in keys}, "score": 1.0} for ann in coco.anns.values()])
    evaluation = COCOeval(coco, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_pictures_are_rgb_and_not_flat(small_set):
    for split in SPLITS:
        pixels = small_set.pixels(split)
        assert pixels.shape[1:] == (128, 128, 3) and pixels.dtype == np.uint8 and pixels.std(axis=(1, 2, 3)).min() > 3


def test_a_complete_set_is_left_alone(tmp_path, monkeypatch):
    root = build_digit_scenes(tmp_path / "set", TINY)
    before = snapshot(root)
    monkeypatch.setattr(digit_scenes, "compose", None)  # would fail if a scene were made
    assert build_digit_scenes(tmp_path / "set", TINY) == root
    assert snapshot(root) == before and os.listdir(tmp_path) == ["set"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"image_size": 96}, {"sizes": {**TINY, "val": 2}}])
def test_a_set_with_other_parameters_is_refused(tmp_path, change):
    root = build_digit_scenes(tmp_path / "set", TINY)
    before = snapshot(root)
    with pytest.raises(FileExistsError, match="is no complete set of digit scenes of these settings; nothing was"):
        build_digit_scenes(root, **{"sizes": TINY, **change})
    assert snapshot(root) == before and os.listdir(tmp_path) == ["set"]


@pytest.mark.parametrize("damage", ["a picture", "an annotation file", "the version"])
def test_an_incomplete_set_is_refused(tmp_path, damage):
    root = build_digit_scenes(tmp_path / "set", TINY)
    annotations = root / "annotations" / "val.json"
    if damage == "a picture":
        (root / "train" / "000001.png").unlink()
    elif damage == "an annotation file":
        annotations.write_text('{"info"')
    else:
        annotations.write_text(annotations.read_text().replace('"version":"1"', '"version":"0"'))
    with pytest.raises(FileExistsError, match="is no complete set of digit scenes"):
        build_digit_scenes(root, TINY)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "set").mkdir()
    assert (build_digit_scenes(tmp_path / "set", TINY) / "test" / "000000.png").is_file()


@pytest.mark.parametrize("room, function", [("digits", "load"), ("photographs", "path")])
def test_a_missing_package_leaves_no_folder(tmp_path, monkeypatch, room, function):
    def fail(*_):
        raise ImportError("pip install scikit-learn scikit-image")

    monkeypatch.setattr(getattr(digit_scenes, room), function, fail)
    with pytest.raises(ImportError, match="pip install"):
        build_digit_scenes(tmp_path / "data" / "set", TINY)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["notes.txt", "train/holiday.jpg", "train/000000.png"])
def test_a_foreign_folder_is_not_touched(tmp_path, name):
    file = tmp_path / "set" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(FileExistsError, match="is no complete set of digit scenes of these settings; nothing was"):
        build_digit_scenes(tmp_path / "set", TINY)
    assert file.read_text() == "mine" and os.listdir(tmp_path) == ["set"]


def test_a_file_in_the_way_is_not_touched(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty and is no complete set"):
        build_digit_scenes(tmp_path / "set", TINY)
    assert (tmp_path / "set").read_text() == "mine"


@pytest.mark.parametrize("present", [False, True])
def test_an_interrupted_build_leaves_what_was_there(tmp_path, present):
    root = tmp_path / "set"
    if present:
        root.mkdir()
    before = snapshot(tmp_path)

    def interrupt(scenes):
        yield scenes[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_digit_scenes(root, TINY, progress=interrupt)
    assert snapshot(tmp_path).keys() == before.keys() and root.exists() == present
    build_digit_scenes(root, TINY)
    assert (root / "test" / "000000.png").is_file()


def test_what_a_killed_build_left_is_cleared_up_after_an_hour(tmp_path):
    for name, age in ((".set.0123abcd.partial", 7200), (".set.4567abcd.partial", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    build_digit_scenes(tmp_path / "set", TINY)
    assert sorted(os.listdir(tmp_path)) == [".set.4567abcd.partial", "set"]


def test_a_faster_process_wins(tmp_path):
    """Another process finishes the same set meanwhile: its files stay."""

    def race(scenes):
        build_digit_scenes(tmp_path / "set", TINY)
        race.before = snapshot(tmp_path / "set")
        return scenes

    root = build_digit_scenes(tmp_path / "set", TINY, progress=race)
    assert snapshot(root) == race.before and os.listdir(tmp_path) == ["set"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": {"train": 2, "val": 1}}, r"sizes\['test'\] should be an integer from 1 to 999999, got None"),
        ({"sizes": {**TINY, "test": 0}}, r"sizes\['test'\] should be an integer from 1 to 999999, got 0"),
        ({"image_size": 32}, r"image_size should be an integer from 64 to 1024, got 32"),
        ({"image_size": 128.0}, r"image_size should be an integer from 64 to 1024, got 128\.0"),
        ({"seed": -1}, r"seed should be an integer from 0 to 4294967295, got -1"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_digit_scenes(tmp_path / "set", **{"sizes": TINY, **arguments})
    assert not os.listdir(tmp_path)


def test_the_command_line(tmp_path, capsys):
    arguments = [str(tmp_path / "set"), "--train", "2", "--val", "1", "--test", "1"]
    build.main(arguments)
    assert f"4 scenes in {tmp_path / 'set'}" in capsys.readouterr().out
    (tmp_path / "set" / "mine").touch()
    with pytest.raises(SystemExit, match="no complete set of digit scenes of these settings"):
        build.main([*arguments, "--seed", "1"])


def test_the_program_needs_no_torch_and_no_mm_package(tmp_path):
    """In a separate process, without the package's `__init__`, which serves the whole package."""
    package = Path(pcka_mmdet.demo.__file__).parents[1]
    code = f"""
        import runpy, sys, types
        class Refuse:
            def find_spec(name, path=None, target=None):
                if name.partition('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmrazor', 'cv2', 'pooch'):
                    raise ImportError(name)
        sys.meta_path.insert(0, Refuse)
        sys.modules['pcka_mmdet'] = types.ModuleType('pcka_mmdet')
        sys.modules['pcka_mmdet'].__path__ = [{str(package)!r}]
        import pcka_mmdet.demo
        assert 'sklearn' not in sys.modules and 'skimage' not in sys.modules  # importing it is cheap
        sys.argv[1:] = [{str(tmp_path / "set")!r}, '--train', '2', '--val', '1', '--test', '1']
        runpy.run_module('pcka_mmdet.demo.build', run_name='__main__')
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("4 scenes in ")
    assert (tmp_path / "set" / "annotations" / "test.json").is_file()
