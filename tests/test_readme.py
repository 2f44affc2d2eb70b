"""The examples of README and docs do what they say, and their links lead somewhere."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from pcka_mmdet.functional import cka, extract_patches
from tests.detectors import build, check_gradients, distillation, raw_batch, retinanet
from tests.test_rooms import ALLOWED

ROOT = Path(__file__).resolve().parents[1]
DEFAULT, PCKA, TEACHERS, STOCK, FUNCTIONAL = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "configs.md").read_text(), flags=re.DOTALL
)


@pytest.mark.parametrize(
    "texts, names",
    [([DEFAULT], ["head", "own"]), ([DEFAULT, PCKA], ["pcka", "mimic"]), ([STOCK], ["pcka"])],
    ids=["default", "pcka", "stock"],
)
@pytest.mark.filterwarnings("ignore:PCKALoss leaves out levels")
def test_the_configs_of_the_page_train(texts, names, tmp_path):
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.py").write_text(f'_base_ = "{number - 1}.py"\n{text}' if number else text)
    config = Config.fromfile(tmp_path / f"{len(texts) - 1}.py")
    config.model.teacher_ckpt = None if texts == [STOCK] else "random"
    init_default_scope("mmdet")
    model = MODELS.build(config.model)
    model.train()
    batch = demo_mm_inputs(1, [[3, 256, 320]], num_classes=80)
    total, log = model.parse_losses(model(**model.data_preprocessor(batch, True), mode="loss"))
    found = [key.removeprefix("distill.loss_") for key in log if re.fullmatch(r"distill\.loss_[a-z]+", key)]
    assert found == names and all(log[f"distill.loss_{name}"] > 0 for name in names) and torch.isfinite(total)
    total.backward()
    assert model.architecture.backbone.layer2[0].conv1.weight.grad.abs().max() > 0


@pytest.mark.full  # its teachers are a ResNet-101 and a ResNeXt-101
def test_several_teachers():
    """The block of docs/configs.md in place of `teacher` and `teacher_ckpt` of the first one."""
    first, teachers = (Config.fromstring(text, ".py") for text in (DEFAULT, TEACHERS))
    model = {key: value for key, value in first.model.items() if not key.startswith("teacher")} | teachers.model
    for teacher in model["teachers"]:
        teacher["ckpt"] = "random"
    init_default_scope("mmdet")
    built = MODELS.build(model)
    batch = demo_mm_inputs(1, [[3, 256, 320]], num_classes=80)
    _, log = built.parse_losses(built(**built.data_preprocessor(batch, True), mode="loss"))
    assert log["distill.loss_own"] + log["distill.loss_own_2"] > 0  # one of them teaches, by the training's progress


def test_the_functional_example():
    names = dict(zip(("student_map", "teacher_map"), torch.randn(2, 2, 8, 16, 16, dtype=torch.float64)))
    exec(FUNCTIONAL, names)
    patches = [extract_patches(names[f"{side}_map"], 4) for side in ("student", "teacher")]
    torch.testing.assert_close(names["loss"], 1 - cka(*patches).mean())


def test_the_loss_of_the_page(tmp_path, monkeypatch):
    """docs/losses.md: the file and the config that it shows, on a pair whose channels differ."""
    module, config = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "losses.md").read_text(), flags=re.DOTALL)
    (tmp_path / "my_losses.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    shown = Config.fromstring(config, ".py")  # imports my_losses
    model = build(distillation(teacher=retinanet(channels=24), **shown.model))
    losses = check_gradients(model, raw_batch((128, 192), (128, 192)))
    assert [key for key in losses if "objects" in key] == ["distill.loss_objects_s8", "distill.loss_objects_s16"]
    assert 0 < losses["object_share_s8"] < 1
    model.parse_losses(losses)[0].backward()
    assert model.distiller.losses["objects_s8"].scale.grad.abs().max() > 0


def test_installations_name_the_versions_that_were_tried():
    """`--no-deps` drops extras, so no command has both."""
    pages = [(ROOT / page).read_text() for page in ("README.md", "docs/install.md", "setup.py")]
    commands = [command for page in pages for command in re.findall(r"(?:pip install|install_requires) [^`#\n]*", page)]
    assert not [command for command in commands if "--no-deps" in command and "[" in command]
    pins = {
        line for name in ("openmmlab", "runtime") for line in (ROOT / f"requirements/{name}.txt").read_text().split()
    }
    named = set(re.findall(r"\b(?:mmengine|mmdet|mmrazor)==[\d.]+", " ".join(pages)))
    assert len(named) == 3 and named <= pins


DOCUMENTS = [
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "configs/**/*.md", "research/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]

PYTHON = {
    "README.md": ["tests/integration/test_api.py"],
    "docs/configs.md": ["tests/test_readme.py"] * 5,
    "docs/losses.md": ["tests/test_readme.py"] * 2,
    "docs/other-teachers.md": ["tests/pseudo_labels/test_other_frameworks.py"] * 2,
    "docs/own-detector.md": ["tests/integration/test_any_student.py", "tests/integration/test_plain_student.py"],
}
"""By page, which test runs each of its Python blocks."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_python_blocks_are_run(path):
    blocks = re.findall(r"^```python\n", (ROOT / path).read_text(), flags=re.MULTILINE)
    assert len(blocks) == len(PYTHON.get(str(path), [])), "add the test that runs the new block"


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_lead_to_files(path):
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / path).read_text()):
        target = (ROOT / path.parent / link).resolve()
        if not target.is_relative_to(ROOT / "research") or (ROOT / "research").exists():
            assert target.exists(), link


def words(*pages: Path) -> int:
    return sum(len(page.read_text().split()) for page in pages)


def test_the_pages_are_short():
    assert words(ROOT / "README.md") <= 700
    assert words(*{*ROOT.glob("docs/*.md"), ROOT / "README.md"} - {ROOT / "docs/changelog.md"}) <= 14_000


def test_what_it_is_takes_one_screen():
    """A picture and a few lines stand before the first command."""
    for page in ("README.md", "README_zh-CN.md"):
        before, *_ = (ROOT / page).read_text().split("```bash")
        assert before.count("![") == 1 and len(before.splitlines()) <= 16, page


def test_reliability_names_tests_that_exist():
    page = (ROOT / "docs" / "reliability.md").read_text()
    named = set(re.findall(r"`(?:tests/)?([a-z_/]+/test_[a-z_]+\.py)`", page))
    assert len(named) > 15 and [name for name in sorted(named) if not (ROOT / "tests" / name).exists()] == []


TREE = re.search(r"```\npcka_mmdet/\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL)[1]


def test_the_tree_says_what_each_room_imports():
    lines = re.findall(r"^  (\w+)[/.].* imports (.+)$", TREE, flags=re.MULTILINE)
    shown = {room: set() if rooms == "nothing of ours" else set(rooms.split(", ")) for room, rooms in lines}
    assert shown == {room: rooms for room, rooms in ALLOWED.items() if room != "__main__"}


def test_the_tree_has_every_folder():
    shown = set(re.findall(r"^ *([\w.]+?)/? ", TREE, flags=re.MULTILINE))
    folders = {path.parent.name for path in (ROOT / "pcka_mmdet").rglob("__init__.py")} - {"pcka_mmdet"}
    assert folders <= shown


def test_the_plan_of_coco():
    """The table of docs/performance.md follows from its multiply-adds, and the hours from the table."""
    page = " ".join((ROOT / "docs" / "performance.md").read_text().split())
    rows = re.findall(r"\| ([\d.]+), ([\d.]+), ([\d.]+)(?:, and R = ([\d.]+))? \| ([\d.]+); ([\d.]+) \|", page)
    assert len(rows) == 3
    for student, teacher, head, roi, maps, heads in ((float(value or 0) for value in row) for row in rows):
        assert maps == pytest.approx(1 + teacher / (3 * student), abs=0.006)
        assert heads == pytest.approx(1 + (teacher + 3 * head + 3 * roi) / (3 * student), abs=0.006)
    steps = 117_266 * 24 / (8 * 2)
    hours = [steps * 0.2 / 3600 * factor for factor in (1, 1 + 351 / (3 * 251), 1 + (351 + 3 * 145) / (3 * 251))]
    alone, maps, heads = re.search(r"take ([\d.]+) h .*?, ([\d.]+) h .*?, and ([\d.]+) h", page).groups()
    assert [float(alone), float(maps), float(heads)] == pytest.approx(hours, abs=0.06)
