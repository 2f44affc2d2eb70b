"""The COCO pairs: each is built and takes a step, and the tables, metafiles and configs say the same."""

import copy
import functools
import re
from collections.abc import Sequence
from pathlib import Path

import mmdet
import pytest
import torch
import yaml
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import RECIPE_SETTINGS
from pcka_mmdet.engine.recipe import suitable_recipe
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.recipes import write_out_recipe
from tests.detectors import check_gradients, step

PAIRS = sorted(path.relative_to(".") for path in Path("configs").glob("*/pcka_fpn_*_coco.py"))
RECIPES = ("pcka", "pcka-mimic", "heads")
CONFIGS = [path.with_name(path.name.replace("pcka_", f"{recipe}_", 1)) for path in PAIRS for recipe in RECIPES]
PAPERS = [path for path in CONFIGS if path.name.startswith("pcka")]
FAMILIES = sorted({path.parent for path in PAIRS})
# P6 is 1x17 there, which patches of 16 cover with two
WIDTH = 1088
HEIGHTS = {"reppoints": 96}  # deformable convolutions want 3 rows at stride 32; the others do with 64

PAPER = dict(  # Table 3
    zip(
        ("cascade-mask-rcnn_x101_faster-rcnn_r50_2x", "retinanet_x101_retinanet_r50_2x", "fcos_r101_fcos_r50_2x"),
        ((41.4, 42.4), (40.3, 40.7), (39.8, 40.7)),
    )
)


def test_the_zoo_is_complete():
    assert len(PAIRS) == 11 and all(path.is_file() for path in CONFIGS)
    found = [path for pattern in ("pcka", "heads") for path in Path("configs").glob(f"*/{pattern}*_coco.py")]
    assert set(found) == set(CONFIGS)


@pytest.mark.parametrize("path", sorted(Path("configs").glob("[!_]*/*_*_*.py")), ids=lambda path: path.stem)
def test_a_config_is_short(path):
    assert len(path.read_text().splitlines()) <= 12


@functools.cache
def _parsed(path: Path) -> Config:
    return Config.fromfile(path)


def read(path: Path) -> Config:
    """A config, which a test may change."""
    return copy.deepcopy(_parsed(path))


def metafile(family: Path) -> dict[str, dict]:
    return {entry["Config"]: entry for entry in yaml.safe_load((family / "metafile.yml").read_text())["Models"]}


def rows(family: Path) -> dict[str, list[str]]:
    """Cells of the README's table by the configs that a row links to."""
    lines = [line for line in (family / "README.md").read_text().splitlines() if line.startswith("| [")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {str(family / file): line for line in cells for file in re.findall(r"\((.+?)\)", line[0])}


@functools.cache
def mmdet_models() -> dict[str, dict]:
    folder = Path(mmdet.__file__).parent / ".mim"
    index = yaml.safe_load((folder / "model-index.yml").read_text())["Import"]
    contents = [yaml.safe_load((folder / path).read_text()) for path in index]
    models = [m for c in contents for m in (c["Models"] if isinstance(c, dict) else c) or [] if "Config" in m]
    return {model["Config"].removeprefix("configs/"): model for model in models}


def box_ap(model: dict) -> float:
    return next(r["Metrics"]["box AP"] for r in model["Results"] if "box AP" in r["Metrics"])


def pair_of(path: Path) -> Path:
    """The first recipe's config of a pair."""
    return path.with_name(re.sub("^(pcka-mimic|heads)_", "pcka_", path.name))


@functools.lru_cache(maxsize=1)
def detectors(pair: Path):
    """Student and teacher of a pair, once for all recipes."""
    model = read(pair).model
    stages = (model.architecture.get("train_cfg") or {}).get("rcnn", [])
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 32  # of 512 proposals
    torch.manual_seed(0)
    return build_detector(model.architecture), build_detector(model.teacher)


QUICK = (
    "retinanet_r101_retinanet_r50",
    "faster-rcnn_r101_faster-rcnn_r50",
)
"""Pairs that `make test` builds."""


def some(paths: Sequence[Path]) -> list:
    """Parameters of a test that builds models: those of the other pairs, and PCKA + mimic, are in `make test-full`."""
    quick = [p for p in paths if "pcka-mimic" not in p.name and any(pair in p.name for pair in QUICK)]
    return [pytest.param(p, id=p.stem, marks=() if p in quick else pytest.mark.full) for p in paths]


@pytest.mark.parametrize("path", some(CONFIGS))
def test_step_and_prediction(path):
    first_recipe = path in PAIRS  # what does not depend on the recipe is tested with one
    student, teacher = detectors(pair_of(path))
    unchanged = {} if first_recipe else dict(fuse_teacher=False, teacher_channels_last=False)
    settings = dict(read(path).model, teacher=teacher)
    write_out_recipe(settings)
    if "roi" in settings["distiller"].losses:
        settings["distiller"].losses.roi.proposals = 8  # of 128: they cost most of the step
    options = {name: settings[name] for name in RECIPE_SETTINGS if name in settings}
    model = FPNDistill(student, teacher, teacher_ckpt="random", **options, **unchanged)
    batch = demo_mm_inputs(1, [[3, HEIGHTS.get(path.parent.name, 64), WIDTH]], num_items=[3], with_mask=True)
    if path in PAPERS:
        step(model, check_gradients(model, batch))
    else:
        step(model, model.train()(**model.data_preprocessor(batch, True), mode="loss"))
        for balance in model.distiller.balances.values():  # norms of the task's gradients and of the losses'
            assert balance.averages.isfinite().all() and balance.averages[:, :2].min() > 0
    terms = model.distiller.terms
    first = (4, 8, 16, 32) if "rcnn" in path.parent.name else (8, 16, 32, 64)
    if "pcka" in terms:
        assert tuple(term.stride for term in terms["pcka"]) == first
    if "mimic" in terms:
        assert len(terms["mimic"]) == (4 if "mask-rcnn_swin" in path.name else 5)
    if not first_recipe:
        return
    model.eval()
    handle = model.teacher.backbone.register_forward_pre_hook(lambda *_: pytest.fail("the teacher ran"))
    with torch.no_grad():
        (prediction,) = model(**model.data_preprocessor(batch, False), mode="predict")
    handle.remove()
    assert {"bboxes", "scores", "labels"} <= set(prediction.pred_instances.keys())


@pytest.mark.parametrize("path", some([p for p in CONFIGS if p.name.startswith("heads")]))
def test_the_recipe_on_heads_is_what_the_pair_chooses(path):
    student, teacher = detectors(pair_of(path))
    recipe, _ = suitable_recipe(student, teacher)
    model, paper = read(path).model, read(pair_of(path)).model
    assert model.recipe == recipe
    assert {key for key in model.keys() | paper.keys() if model.get(key) != paper.get(key)} == {"recipe", "distiller"}


STUDENTS: dict[str, Config] = {}
"""By name, the configs of MMDetection that were read."""


def student_of(name: str, folder: Path) -> Config:
    """A config of MMDetection; most pairs share their student."""
    if name not in STUDENTS:
        (folder / "student.py").write_text(f"_base_ = {name!r}")
        STUDENTS[name] = Config.fromfile(folder / "student.py")
    return STUDENTS[name]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_outside_the_model_all_is_the_students_own_but_the_departures(path, tmp_path):
    entry = metafile(path.parent)[str(path)]
    student = student_of(entry["Metadata"]["Student"]["Config"], tmp_path).to_dict()
    config = read(path).to_dict()
    differing = {key for key in config.keys() | student.keys() if config.get(key) != student.get(key)}
    stated = re.findall(r"`(\w+)`", entry["Metadata"]["Departures"])
    assert differing == {"model", *stated}
    assert config["model"]["architecture"] == student["model"]


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_recipes_are_the_papers(path):
    config = read(path)
    write_out_recipe(config.model)
    assert not {"recipe", "balance", "teacher_precision"} & config.model.keys()
    losses = config.model.distiller.losses
    two_stage = "rcnn" in path.parent.name
    assert losses.pcka == dict(
        type="pcka_mmdet.PCKALoss",
        loss_weight=10.0,
        patch_size=16,
        average="channel",
        centering="none",
        strides=(4, 8, 16, 32) if two_stage else (8, 16, 32, 64),
        **(dict(position_weight=10.0) if two_stage or path.parent.name == "gfl" else {}),
    )
    mimic = dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0)
    assert losses.get("mimic") == (mimic if "mimic" in path.name else None)
    rate = 0.02 if two_stage else 0.01
    assert config.optim_wrapper.optimizer.lr == rate and config.train_dataloader.batch_size == 2
    assert config.train_cfg.max_epochs == (12 if "_1x_" in path.name else 20 if "_20e_" in path.name else 24)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_metafiles_and_mmdet_agree(path):
    entry, models = metafile(path.parent)[str(path)], mmdet_models()
    assert entry["Name"] == path.stem and entry["In Collection"] == "PCKA"
    model = read(path).model
    assert model.teacher.cfg_path == entry["Metadata"]["Teacher"]["Config"]
    assert model.teacher_ckpt == entry["Metadata"]["Teacher"]["Weights"]
    for side in ("Student", "Teacher"):
        stated = entry["Metadata"][side]
        official = models[stated["Config"].removeprefix("mmdet::")]
        assert stated["Weights"] == official["Weights"]
        assert stated["Metrics"]["box AP"] == box_ap(official)
    recipe, _, pair = path.stem.removesuffix("_coco").partition("_fpn_")
    paper = PAPER.get(pair, (None, None))[RECIPES.index(recipe)] if path in PAPERS else None
    assert entry["Metadata"].get("Paper", {"Metrics": {"box AP": None}})["Metrics"]["box AP"] == paper
    assert "Results" not in entry  # nothing was trained


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_tables_and_metafiles_agree(family):
    entries, table = metafile(family), rows(family)
    configs = [str(path) for path in CONFIGS if path.parent == family]
    assert sorted(entries) == sorted(table) == sorted(configs)
    for config, (links, student, teacher, papers, departures, measured) in table.items():
        metadata, recipe = entries[config]["Metadata"], Path(config).name.partition("_")[0]
        assert f"[{recipe}]({Path(config).name})" in links
        for side, cell in (("Student", student), ("Teacher", teacher)):
            stated = metadata[side]
            assert f"`{stated['Config'].removeprefix('mmdet::')}`" in cell
            assert f"[{stated['Metrics']['box AP']}]({stated['Weights']})" in cell
        if "Paper" in metadata:
            assert papers.split(", ")[RECIPES.index(recipe)] == str(metadata["Paper"]["Metrics"]["box AP"])
        else:
            assert recipe == "heads" or papers == "-"
        assert (departures, measured) == (metadata["Departures"], "not trained")


def test_the_index_names_every_metafile_and_the_overview_every_folder():
    index = yaml.safe_load(Path("model-index.yml").read_text())
    assert index["Import"] == [f"{family}/metafile.yml" for family in FAMILIES]
    assert [collection["Name"] for collection in index["Collections"]] == ["PCKA"]
    overview = Path("configs/README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]\(\1/README.md\)", overview, re.MULTILINE) == [family.name for family in FAMILIES]


PROGRESSIVE = sorted(path.relative_to(".") for path in Path("configs").glob("*/progressive_*_coco.py"))


@pytest.mark.parametrize("path", PROGRESSIVE, ids=lambda path: path.stem)
def test_teachers_one_after_another_are_mmdetections_and_get_stronger(path):
    config = read(path)
    models = mmdet_models()
    teachers = [models[teacher.cfg_path.removeprefix("mmdet::")] for teacher in config.model.teachers]
    assert [teacher["Weights"] for teacher in teachers] == [teacher.ckpt for teacher in config.model.teachers]
    precisions = [box_ap(teacher) for teacher in teachers]
    assert precisions == sorted(precisions) and len(set(precisions)) == 2
    assert [teacher.get("until") for teacher in config.model.teachers] == [0.5, None]
    assert path.name in (path.parent / "README.md").read_text()


@pytest.mark.full  # two large teachers each
@pytest.mark.parametrize("path", PROGRESSIVE, ids=lambda path: path.stem)
def test_a_step_with_each_of_the_teachers(path):
    config = read(path).model
    for teacher in config.teachers:
        teacher.update(ckpt="random", backbone=dict(init_cfg=None))
        teacher.pop("until", None)  # both at once
    config.architecture.backbone.init_cfg = None
    write_out_recipe(config)
    for loss in config.distiller.losses.values():
        if loss.type == "pcka_mmdet.RoIHeadLoss":
            loss.proposals = 8
    model = build_detector(config)
    batch = demo_mm_inputs(1, [[3, 64, 128]], num_items=[3], with_mask=True)
    losses = model.train()(**model.data_preprocessor(batch, True), mode="loss")
    found = {key: value for key, value in losses.items() if key.startswith("distill.loss")}
    assert {f"{key}_2" for key in found if not key.endswith("_2")} <= set(found)
    assert all(value > 0 for value in found.values())
    step(model, losses)
