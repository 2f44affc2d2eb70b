"""Runs in memory, and their pages."""

import json

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from mmengine.config import Config

from pcka_mmdet.report.page import scores, write_page
from pcka_mmdet.report.run import RESULTS, Run
from tests.report.cases import CLASSES, dump, random_case

LOG = """2026/01/01 00:00:00 - mmengine - INFO - command: tools/train.py <x>.py
2026/01/01 00:00:00 - mmengine - INFO - versions: torch 2.1.0, onedl-mmengine 0.10.12
"""


def work_dir(folder, annotations, seed=0, distils=False, keep=1.0):
    """A work directory whose student finds the objects, with so many of its scores."""
    content = json.loads(annotations.read_text())
    results = []
    for number, one in enumerate(content["annotations"]):
        image, number = one["image_id"], number % 4
        if (image + number + seed) % 10 < 10 * keep:
            score = 0.9 - 0.1 * number
            results.append(dict(image_id=image, category_id=one["category_id"], bbox=one["bbox"], score=score))
    (folder / "test").mkdir(parents=True)
    (folder / RESULTS).write_text(json.dumps(results))
    (folder / "images").mkdir()
    for image in content["images"]:
        cv2.imwrite(str(folder / "images" / image["file_name"]), np.full((120, 120, 3), 200, dtype=np.uint8))
    log = folder / "20260101_000000"
    (log / "vis_data").mkdir(parents=True)
    (log / "20260101_000000.log").write_text(LOG)
    prefix = "student." if distils else ""
    records = [{f"{prefix}loss_cls": 1 / i, "time": 0.1, "iter": i, "epoch": i, "step": i} for i in (1, 2)]
    if distils:
        records[0] |= {"similarity.cka_s8": 0.4}
    records.append({"coco/bbox_mAP": 0.3, "step": 2})
    (log / "vis_data" / "scalars.json").write_text("".join(json.dumps(record) + "\n" for record in records))
    student = Config.fromfile("configs/demo/student.py").model
    model = dict(type="pcka_mmdet.FPNDistill", architecture=student, balance=dict(ratio=1.0)) if distils else student
    dataset = dict(
        type="CocoDataset",
        ann_file=str(annotations),
        data_root=str(folder),
        data_prefix=dict(img="images/"),
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(type="Resize", scale=(128, 128))],
    )
    config = dict(model=model, randomness=dict(seed=seed), test_dataloader=dict(dataset=dataset), default_scope="mmdet")
    config["test_evaluator"] = [dict(type="DumpResults"), dict(type="mmdet.CocoMetric", ann_file=str(annotations))]
    Config(config).dump(folder / "config.py")
    (folder / "20260102_000000.py").write_text("model = dict(type='RetinaNet')")  # of a test
    if distils:
        (folder / "student_config.py").write_text("model = dict(type='RetinaNet')")
    return Run.read(folder)


@pytest.fixture(scope="session", autouse=True)
def few_samples():
    """Fewer samples of the test images, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "SAMPLES", 300)
        yield


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Two seeds of a student that misses objects, two that misses fewer, and a teacher."""
    folder = tmp_path_factory.mktemp("runs")
    annotations = dump(random_case()[0], folder / "annotations.json")
    plain = [work_dir(folder / f"plain{seed}", annotations, seed, keep=0.5) for seed in (0, 1)]
    distilled = [work_dir(folder / f"distilled{seed}", annotations, seed, keep=0.8, distils=True) for seed in (0, 1)]
    return plain, distilled, work_dir(folder / "teacher", annotations)


@pytest.fixture(scope="session")
def page(runs, tmp_path_factory):
    """Two seeds on both sides, and the teacher."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_page(*runs, out)
    return out


@pytest.fixture(scope="session")
def page_of_one(runs, tmp_path_factory):
    """A single distillation."""
    out = tmp_path_factory.mktemp("page_of_one") / "report.html"
    write_page([], runs[1][:1], None, out)
    return out


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """What is saved as a picture."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: saved.append(self) or save(self, *a, **k))
    return saved
