"""The tools of MMDetection and MIM on a distillation's config, and on the student's config beside it."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.utils import benchmark
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from packaging.requirements import Requirement

from tests.integration.conftest import tiny_demo
from tests.processes import ROOT

TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"
CONFIGS = ["distilled.py", "student_config.py"]


@pytest.fixture(scope="module")
def work(command, digit_scenes, tmp_path_factory):
    """A distillation of one epoch, and its student's predictions."""
    folder = tmp_path_factory.mktemp("distillation")
    command("tools/train.py", "tests/data/distilled.py", "--work-dir", folder, *tiny_demo(digit_scenes))
    return folder


@pytest.fixture(scope="module")
def predictions(command, work, tmp_path_factory):
    """By config, what `mmdet`'s own test tool wrote for the student."""
    folder = tmp_path_factory.mktemp("predictions")
    for config in CONFIGS:
        words = [work / config, work / "student_epoch_1.pth", "--work-dir", folder, "--out", folder / f"{config}.pkl"]
        command(TOOLS / "test.py", *words)
    return folder


def test_the_students_config_is_that_of_its_checkpoint(work):
    content = torch.load(work / "student_epoch_1.pth")
    assert (work / "student_config.py").read_text() == content["meta"]["cfg"]
    assert Config.fromfile(work / "student_config.py").model.type == "RetinaNet"


def test_a_plain_detector_has_no_student_config_and_a_test_leaves_its_own_alone(command, digit_scenes, tmp_path):
    """The report evaluates by it."""
    settings = [word for word in tiny_demo(digit_scenes) if not word.startswith("model.")]
    student = ("configs/demo/student.py", tmp_path / "epoch_1.pth", "--work-dir", tmp_path)
    command("tools/train.py", student[0], *student[2:], *settings)
    assert student[1].exists() and not (tmp_path / "student_config.py").exists()
    before = (tmp_path / "student.py").read_text()
    command("tools/test.py", *student, *settings, "model.test_cfg.score_thr=0.3")
    assert (tmp_path / "student.py").read_text() == before


@pytest.mark.parametrize("config", CONFIGS)
class TestWithEitherConfig:
    def test_browse_dataset(self, command, work, config, tmp_path):
        command(TOOLS / "analysis_tools/browse_dataset.py", work / config, "--output-dir", tmp_path, "--not-show")
        assert len(list(tmp_path.glob("*.png"))) == 8

    def test_confusion_matrix(self, command, work, predictions, config, tmp_path):
        command(TOOLS / "analysis_tools/confusion_matrix.py", work / config, predictions / f"{config}.pkl", tmp_path)
        assert (tmp_path / "confusion_matrix.png").stat().st_size > 0

    def test_analyze_results(self, command, work, predictions, config, tmp_path):
        words = [work / config, predictions / f"{config}.pkl", tmp_path, "--topk", "1"]
        command(TOOLS / "analysis_tools/analyze_results.py", *words)
        assert [len(list((tmp_path / kind).iterdir())) for kind in ("good", "bad")] == [1, 1]

    def test_get_flops(self, command, work, config):
        """Of the student alone: the teacher is neither counted nor run."""
        done = command(TOOLS / "analysis_tools/get_flops.py", work / config, "--num-images", "1")
        assert "Flops: 76.444M" in done.stdout


def test_benchmark(work, monkeypatch):
    """What `benchmark.py` runs. It needs CUDA, which is left out here where there is none."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(BaseModel, "cuda", lambda model: model)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(benchmark, "get_max_cuda_memory", lambda: 0)
    init_default_scope("mmdet")
    config = Config.fromfile(work / "student_config.py")
    weights, counts = str(work / "student_epoch_1.pth"), dict(max_iter=3, log_interval=1, num_warmup=1)
    measured = benchmark.InferenceBenchmark(config, weights, False, False, **counts)
    assert measured.run(1)["avg_fps"] > 0
    loaded = torch.load(weights)["state_dict"]
    assert all(torch.equal(value.cpu(), loaded[key]) for key, value in measured.model.state_dict().items())


def test_analyze_logs(command, work, tmp_path):
    (scalars,) = work.glob("*/vis_data/scalars.json")
    tool = TOOLS / "analysis_tools/analyze_logs.py"
    keys = ["loss", "distill.loss_pcka_s8", "bbox_mAP"]
    assert all(any(key in json.loads(line) for line in scalars.read_text().splitlines()) for key in keys[:2])
    style = [] if "seaborn" in tool.read_text() else ["--style", "default"]  # OneDL's default style is seaborn's
    command(tool, "plot_curve", scalars, "--keys", *keys, *style, "--out", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0
    assert "average iter time" in command(tool, "cal_train_time", scalars).stdout


# An environment that has the wheel, and nothing of the source tree.

INHERIT = "import site; site.addsitedir({folder!r})\n"


PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy_of_sources(folder / "sources")]
    subprocess.run([*PIP, *words], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_pip_replaces_nothing_that_a_detector_runs_on(wheel):
    """torch, mmengine, mmcv and mmdet are not required: `pcka-mmdet` names those that are missing."""
    (metadata,) = distributions(path=[str(wheel)])
    required = [Requirement(text) for text in metadata.requires]
    assert {need.name for need in required if need.marker is None} == {"mmrazor", "joblib"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A program of an environment in which the wheel is installed; the other packages are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    here = Path(torch.__file__).parents[1]
    (packages / "inherited.pth").write_text(INHERIT.format(folder=str(here)))
    install = ["--python", folder / "env/bin/python", "install", "--no-deps", "--no-index", "--force-reinstall", wheel]
    subprocess.run([*PIP, *install], check=True, capture_output=True)

    def run(*words, cwd):
        program = [folder / "env/bin" / words[0], *map(str, words[1:])]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{folder}/env/bin{os.pathsep}{os.environ['PATH']}",
        }
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

    return run


def copy_of_sources(folder):
    """What a wheel is made of, so that the build leaves nothing in the source tree."""
    for name in ("pcka_mmdet", "configs", "tools", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".mim", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "model-index.yml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_the_wheel_is_what_is_imported(installed, tmp_path):
    found = installed("python", "-c", "import pcka_mmdet, torch; print(pcka_mmdet.__file__)", cwd=tmp_path).strip()
    assert "/installed" in found and not found.startswith(str(ROOT))


@pytest.mark.full  # half a minute
def test_mim_trains_and_the_program_tests_without_the_source_tree(installed, digit_scenes, tmp_path):
    """MIM finds tool and config in the wheel by their names alone; `pcka-mmdet` finds them too."""
    mim = ["python", "-c", "from mim.cli import cli; cli()"]
    train = ["train", "pcka_mmdet", "distilled.py", "--gpus", "0", "--work-dir", "work"]
    installed(*mim, *train, *tiny_demo(digit_scenes), cwd=tmp_path)
    assert (tmp_path / "work/student_epoch_1.pth").exists()
    checkpoint, words = "work/epoch_1.pth", ["--work-dir", "test", *tiny_demo(digit_scenes)]
    tested = installed("pcka-mmdet", "test", "pcka_mmdet::demo/distilled.py", checkpoint, *words, cwd=tmp_path)
    again = installed(
        *mim, "test", "pcka_mmdet", "work/distilled.py", "--checkpoint", checkpoint, "--gpus", "0", cwd=tmp_path
    )
    results = [text[text.rindex("bbox_mAP_copypaste") :].splitlines()[0] for text in (tested, again)]
    assert results[0] == results[1]


@pytest.mark.full  # MIM has trained with our tool above
def test_mmdetections_own_training_and_test_of_the_students_config(installed, work, tmp_path):
    """`mim train mmdet` and `mim test mmdet` on the file beside the checkpoints."""
    mim = ["python", "-c", "from mim.cli import cli; cli()"]
    installed(*mim, "train", "mmdet", work / "student_config.py", "--gpus", "0", "--work-dir", "work", cwd=tmp_path)
    content = torch.load(tmp_path / "work/epoch_1.pth", weights_only=False)
    assert content["state_dict"].keys() == torch.load(work / "student_epoch_1.pth")["state_dict"].keys()
    test = ["test", "mmdet", work / "student_config.py", "--checkpoint", work / "student_epoch_1.pth", "--gpus", "0"]
    assert "bbox_mAP_copypaste" in installed(*mim, *test, "--work-dir", "test", cwd=tmp_path)
