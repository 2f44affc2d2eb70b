"""The whole demo on 64 scenes: interrupted, taken up again, and repeated."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from pcka_mmdet.cli import main
from pcka_mmdet.demo import build_digit_scenes
from pcka_mmdet.report.run import RESULTS
from tests.integration.conftest import last_log, run_block
from tests.pages import blocks
from tests.processes import ROOT
from tests.programs import ForkedProgram

METHODS = ("teacher", "student", "distilled")


class Child(ForkedProgram):
    """A training or a test of the demo."""

    folder: Path
    """Folder of its output."""

    def __init__(self, words: list[str]):
        super().__init__(words, [self.folder / "stdout", self.folder / "stderr"])

    @classmethod
    def run(cls, words: list[str], **_) -> subprocess.CompletedProcess:
        """Do what `subprocess.run` does."""
        with cls(words) as child:
            status = child.wait()
        return subprocess.CompletedProcess(words, status, *((cls.folder / n).read_text() for n in ("stdout", "stderr")))


class Demo:
    """`pcka-mmdet demo` in this process (its trainings have their own), three epochs on a tiny data set."""

    def __init__(self, folder: Path):
        self.data = build_digit_scenes(folder / "data", {"train": 32, "val": 16, "test": 16})
        self.work_dir = folder / "run"
        self.began = time.monotonic()
        self.child = type("Child", (Child,), dict(folder=folder))

    def __call__(self, *arguments: str) -> None:
        common = ["--work-dir", str(self.work_dir), "--data-root", str(self.data), "--threads", "1"]
        options = ["--cfg-options", "train_cfg.max_epochs=3"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "GLIBC_TUNABLES"):  # the command sets them
                patch.setenv(name, "1")
            patch.setattr(signal, "signal", lambda *_: None)
            patch.setattr("pcka_mmdet.cli.demo.subprocess.Popen", self.child)
            patch.setattr("pcka_mmdet.report.run.subprocess.run", self.child.run)
            main(["demo", *common, *arguments, *options])

    def files(self) -> set[Path]:
        """What trainings and tests have left."""
        return {path for method in METHODS for path in (self.work_dir / method).rglob("*")}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo whose student's training was interrupted after an epoch, and that was then run as a whole."""
    demo = Demo(tmp_path_factory.mktemp("demo"))

    class Interrupted(demo.child):
        """Ctrl-C after the first checkpoint."""

        def wait(self, timeout=None):
            if timeout is None and self.poll() is None:
                while not (demo.work_dir / "student" / "last_checkpoint").exists():
                    time.sleep(0.02)
                self.send_signal(signal.SIGINT)
                raise KeyboardInterrupt
            return super().wait(timeout)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as raised:
        patch.setattr(demo, "child", Interrupted)
        demo("--only", "student")
    assert raised.value.code == 130
    assert not (demo.work_dir / "student" / "epoch_3.pth").exists()
    demo()
    return demo


def test_results(demo):
    results = json.loads((demo.work_dir / "results.json").read_text())
    assert tuple(results) == METHODS
    for method, values in results.items():
        (log,) = (demo.work_dir / method / "test").glob("*/20*.json")
        logged = {k.removeprefix("coco/"): v for k, v in json.loads(log.read_text()).items() if "mAP" in k}
        logged.pop("bbox_mAP_copypaste", None)
        assert {k: v for k, v in values.items() if "mAP" in k} == (logged or dict(bbox_mAP=0))  # nothing was detected
    seconds = [values["seconds"] for values in results.values()]
    assert min(seconds) > 0 and sum(seconds) < time.monotonic() - demo.began
    assert results["distilled"]["parameters"] == results["student"]["parameters"] < results["teacher"]["parameters"]
    assert results["distilled"]["flops"] == results["student"]["flops"] <= results["teacher"]["flops"] / 3


def test_picture(demo):
    assert (demo.work_dir / "detections.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_this_run(demo):
    page = (demo.work_dir / "report.html").read_text()
    results = json.loads((demo.work_dir / "results.json").read_text())
    assert f"The teacher reaches {results['teacher']['bbox_mAP']:.3f}." in page
    assert "distillation.balance.ratio" in page and "--resume auto" in page


@pytest.mark.full  # half a minute
def test_a_report_of_any_trainings(demo, command, tmp_path):
    """Those that were not tested are."""
    shutil.copytree(demo.work_dir / "student", tmp_path / "untested", ignore=shutil.ignore_patterns("test"))
    folders = [demo.work_dir / "distilled", "--baseline", tmp_path / "untested"]
    out = command("tools/report.py", *folders, "--out", tmp_path / "report.html").stdout
    assert f"testing {tmp_path / 'untested' / 'epoch_3.pth'}" in out and "The distilled student reaches AP" in out
    again = command("tools/report.py", *folders, "--out", tmp_path / "report.html").stdout
    assert "testing" not in again and (tmp_path / "report.html").is_file()
    os.utime(tmp_path / "untested" / RESULTS, (1, 1))  # of an earlier checkpoint
    assert "testing" in command("tools/report.py", *folders, "--out", tmp_path / "report.html").stdout
    alone = command("tools/report.py", demo.work_dir / "distilled", "--out", tmp_path / "alone.html").stdout
    assert "The distilled student reaches AP" in alone and "student alone" not in (tmp_path / "alone.html").read_text()
    done = command("tools/report.py", tmp_path, "--baseline", tmp_path, check=False)
    assert done.returncode == 2 and f"'{tmp_path}' is given twice: each training counts once" in done.stderr
    done = command("tools/report.py", tmp_path, check=False)
    assert done.returncode == 2 and f"there is no config in '{tmp_path}'" in done.stderr


def test_pictures_and_similarity_of_its_maps(demo, command, tmp_path):
    config, image = demo.work_dir / "distilled.py", next((demo.data / "test").iterdir())
    student, distilled = (demo.work_dir / name / "epoch_3.pth" for name in ("student", "distilled"))
    words = ["tools/feature_maps.py", config, distilled, image]
    out = command(*words, "--student", student, "--channels", 0, "--out", tmp_path / "maps.png").stdout
    assert "s8: CKA in patches, mean student " in out and " distilled " in out and (tmp_path / "maps.png").is_file()
    done = command(*words, "--channels", 64, check=False)
    assert done.returncode == 2 and "--channels: the maps have channels 0 to 63, got [64]" in done.stderr
    done = command("tools/feature_maps.py", "configs/demo/student.py", student, image, check=False)
    assert "give the config of a distillation" in done.stderr
    done = command("tools/feature_maps.py", config, demo.work_dir / "teacher" / "epoch_3.pth", image, check=False)
    assert done.returncode == 2 and "epoch_3.pth' is not of this config's student: neck." in done.stderr
    done = command("tools/feature_maps.py", config, student, "none.png", check=False)
    assert "there is no image at 'none.png'" in done.stderr

    pair = [student, demo.work_dir / "teacher" / "epoch_3.pth"]
    out = command("tools/similarity.py", *pair, "--images", 8, "--out", tmp_path / "levels.png").stdout
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("s")]
    assert [row[0] for row in rows] == ["s8", "s16", "s32", "s64"] and (tmp_path / "levels.png").is_file()
    same = command("tools/similarity.py", student, student, "--images", 8, "--out", tmp_path / "same.png").stdout
    rows = [line.split() for line in same.splitlines() if line.strip().startswith("s")]
    assert [float(row[1 + i]) for i, row in enumerate(rows)] == pytest.approx([1.0] * 4, abs=0.002)


def test_the_interrupted_training_went_on(demo):
    assert "resumed epoch: " in last_log(demo.work_dir / "student")


def test_the_student_learned_from_the_demos_teacher(demo):
    log = last_log(demo.work_dir / "distilled")
    assert f"tensors loaded from '{demo.work_dir / 'teacher' / 'epoch_3.pth'}'" in log


def test_a_second_run_repeats_nothing(demo, capsys):
    before = demo.files()
    demo()
    output = capsys.readouterr().out
    assert demo.files() == before
    assert output.count("is complete") == 3 and "testing" not in output
    assert "The distilled student reaches AP " in output


def analyse(command: str, *arguments) -> None:
    """Run a command in this process."""
    main([command, *map(str, arguments)])


@pytest.fixture
def page(demo, tmp_path):
    """A folder with the work directories that the pages name."""
    (tmp_path / "work_dirs").mkdir()
    for name in ("demo", *(f"demo/{method}" for method in METHODS)):
        (tmp_path / "work_dirs" / Path(name).name).symlink_to(demo.work_dir.parent / name.replace("demo", "run"))
    return tmp_path


def test_the_commands_of_the_page_of_pictures(demo, page, command):
    """docs/analysis.md."""
    block, *_ = blocks("docs/analysis.md", "bash")  # the others' are run in other tests
    confusion, *_ = run_block(command, block, page)
    assert "distilled: " in confusion and "objects missed" in confusion
    out = [page / f"{name}.png" for name in ("confusion", "curves", "detections")]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out)


def test_the_commands_of_the_page_of_the_report(demo, page, command):
    """docs/report.md."""
    student, teacher, distilled = (
        page / "work_dirs" / name / "epoch_3.pth" for name in ("student", "teacher", "distilled")
    )
    names = {"CONFIG": demo.work_dir / "distilled.py", "CHECKPOINT": distilled, "STUDENT_CHECKPOINT": student}
    names |= {"IMAGE": next((demo.data / "test").iterdir()), "STUDENT.pth": student, "TEACHER.pth": teacher}
    said = "".join(run_block(command, "".join(blocks("docs/report.md", "bash")), page, names))
    assert "The distilled student reaches AP" in said and "s8: CKA in patches" in said
    assert (page / "work_dirs" / "distilled" / "report.html").is_file()


@pytest.fixture
def after_demo(demo, tmp_path):
    """A folder as `make demo` leaves it, and where the configs of the pages are."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digit_scenes").symlink_to(demo.data)
    (tmp_path / "work_dirs" / "demo" / "teacher").mkdir(parents=True)
    (tmp_path / "work_dirs/demo/teacher/epoch_20.pth").symlink_to(demo.work_dir / "teacher" / "epoch_3.pth")
    (tmp_path / "work_dirs" / "demo" / "student").symlink_to(demo.work_dir / "student")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    configs = [path for folder in ("configs", "research/configs") for path in (ROOT / folder / "demo").glob("*.py")]
    return tmp_path, {str(path.relative_to(ROOT)): path for path in configs}


@pytest.mark.full  # two trainings
def test_the_commands_of_the_pictures_of_patches(after_demo, command):
    """docs/analysis.md, after its `make`."""
    folder, names = after_demo
    *_, block = blocks("docs/analysis.md", "bash")
    *_, curves, _, confusion = run_block(command, block.removeprefix("make demo\n"), folder, names)
    assert re.findall(r"(.+): (\d+) validations", curves)[1:] == [("without patches", "16"), ("with patches", "16")]
    assert confusion.count("objects missed") == 3
    for name in ("curves", "detections", "confusion"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.full  # a training
def test_the_commands_of_the_theory(after_demo, command):
    """docs/theory.md, after its `make`."""
    folder, names = after_demo
    block = "".join(blocks("docs/theory.md", "bash")).removeprefix("make demo-teacher\n")
    *_, said = run_block(command, block, folder, names)
    sides = re.findall(r"stride (\d+): bound (\S+) to (\S+), MMD (\S+) to (\S+)", said)
    assert [stride for stride, *_ in sides] == ["8", "16"]
    for bound, _, mmd, _ in (map(float, side[1:]) for side in sides):
        assert 0 < mmd <= bound
    assert (folder / "docs/images/theorem.png").is_file()


@contextmanager
def told(capsys, message):
    """A tool in this process that fails and says so."""
    with pytest.raises(SystemExit) as raised:
        yield
    assert raised.value.code == 2 and re.search(message, capsys.readouterr().err)


def test_pictures_of_what_is_not_there(demo, tmp_path, capsys):
    for tool in ("confusion", "detections"):
        with told(capsys, "there is no config in .*: give the work directory of a training"):
            analyse(tool, f"a={tmp_path}")
        with told(capsys, "write NAME=DIR, such as heads=work_dirs/distilled; got"):
            analyse(tool, tmp_path)
    with told(capsys, "holds no log of a training"):
        analyse("curves", f"a={tmp_path}")


def test_one_method_alone(demo, capsys):
    demo("--only", "teacher")
    output = capsys.readouterr().out
    assert "teacher" in output
    assert "distilled" not in output


def test_data_that_are_missing_and_cannot_be_made(demo, tmp_path, capsys):
    configs = tmp_path / "configs"
    configs.mkdir()
    student = (ROOT / "configs" / "demo" / "student.py").read_text()
    student = student.replace("../_base_", str(ROOT / "configs" / "_base_"))
    (configs / "teacher.py").write_text(student.replace('tuple("0123456789")', '("cell",)'))
    with told(capsys, "no annotation file at .*train.json.* --data-root"):
        demo("--config-dir", str(configs), "--data-root", str(tmp_path / "nothing"))


def test_a_config_folder_that_does_not_exist(demo, capsys):
    with told(capsys, "no config file at 'nowhere/teacher.py'"):
        demo("--config-dir", "nowhere")
