"""Distilling from Python, as in a notebook: several times in one process."""

import json
import re
import textwrap
from collections.abc import Callable

import pytest
import torch

from pcka_mmdet import __version__
from pcka_mmdet.configuration.detector import build_detector
from tests.integration.conftest import last_log, write_pair
from tests.processes import ROOT


@pytest.fixture
def run_python(command, tmp_path) -> Callable[[str], str]:
    """Run code in a process that has imported the packages; what it prints."""

    def run(code: str) -> str:
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(code))
        return command(str(script)).stdout

    return run


def test_distil_twice_and_use_the_student(run_python, digit_scenes, tmp_path):
    teacher = tmp_path / "teacher.pth"
    torch.save(dict(state_dict=build_detector("configs/demo/teacher.py").state_dict()), teacher)
    options = {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1, "train_dataloader.batch_size": 4}
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        options[f"{loader}.dataset.data_root"] = f"{digit_scenes}/"
    for split in ("val", "test"):
        options[f"{split}_evaluator.ann_file"] = f"{digit_scenes}/annotations/{split}.json"
    image = next((digit_scenes / "val").iterdir())
    printed = run_python(
        f"""
        import json
        import pcka_mmdet

        from pathlib import Path
        pair = dict(student=Path("configs/demo/student.py"), teacher=Path("configs/demo/teacher.py"))
        pair["teacher_ckpt"] = Path({str(teacher)!r})
        pair["cfg_options"] = {options!r} | {{"train_dataloader.dataset.data_root": Path({str(digit_scenes)!r})}}
        found = []
        for name, options in (("first", dict()), ("second", dict(recipe="maps", amp=True))):
            done = pcka_mmdet.distill(**pair, work_dir={str(tmp_path)!r} + "/" + name, **options)
            assert done.best is None and done.last.checkpoint == done.checkpoint
            found.append(dict(recipe=done.recipe, checkpoint=str(done.checkpoint), metrics=sorted(done.metrics)))

        model = pcka_mmdet.load_student(done.checkpoint)
        from mmdet.apis import inference_detector
        boxes = inference_detector(model, {str(image)!r}).pred_instances.bboxes
        found.append(dict(classes=model.dataset_meta["classes"], shape=list(boxes.shape), training=model.training))

        try:
            pcka_mmdet.distill(**pair | dict(teacher_ckpt="none.pth"), work_dir={str(tmp_path / "third")!r})
        except FileNotFoundError as error:
            found.append(str(error))
        try:
            pcka_mmdet.distill(**pair, recipe="fitnet", work_dir={str(tmp_path / "third")!r})
        except ValueError as error:
            found.append(str(error))
        print("RESULT", json.dumps(found))
        """
    )
    first, second, used, refused, unknown = json.loads(printed.rpartition("RESULT ")[2])
    checkpoint = str(tmp_path / "second" / "student_epoch_1.pth")
    assert "BOXES 4" in run_python(  # where no training has set a scope
        f"""
        import pcka_mmdet
        from mmdet.apis import inference_detector
        model = pcka_mmdet.load_student({checkpoint!r})
        print("BOXES", inference_detector(model, {str(image)!r}).pred_instances.bboxes.shape[1])
        """
    )
    assert first["recipe"].startswith("recipe both-heads: ") and second["recipe"] == "recipe maps: as given"
    assert first["checkpoint"] == str(tmp_path / "first" / "student_epoch_1.pth")
    assert first["metrics"] == second["metrics"] and "bbox_mAP" in first["metrics"]
    assert used["classes"] == list("0123456789") and used["shape"][1] == 4 and used["training"] is False
    for name in ("first", "second"):  # each has its own log
        assert len(list((tmp_path / name).glob("*/vis_data/scalars.json"))) == 1
        assert f"INFO - versions: pcka_mmdet {__version__}, torch {torch.__version__}, " in last_log(tmp_path / name)
    assert refused.startswith("model.teacher_ckpt 'none.pth' does not exist")
    assert unknown.startswith("there is no recipe 'fitnet': write one of ('both-heads', ")


def test_the_example_of_the_readme(run_python, digit_scenes, tmp_path):
    """On the demo's pair, in a folder with the files that it names."""
    write_pair(tmp_path, digit_scenes)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    printed = run_python(
        f"""
        import os
        os.chdir({str(tmp_path)!r})
        exec({example!r})
        print("TRAINING", model.training)
        """
    )
    assert "TRAINING False" in printed and (tmp_path / "work_dirs/distilled/student_epoch_1.pth").is_file()
