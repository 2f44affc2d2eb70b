"""Configs in checkpoints: hostile ones run nothing, whoever reads them; those that MMEngine writes are read in full."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.checkpoints import config_text
from pcka_mmdet.checkpoints.config_text import read_config, refuse_code
from pcka_mmdet.checkpoints.student import export_student
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.engine.nonfinite import read_batch
from pcka_mmdet.engine.onnx_export import export_onnx
from tests.detectors import build, distillation, retinanet

GIVE = r"; give the config of its training \(--config, or config=...\)"
CODE = "the stored config holds code, which is not run: "
FILE = f"the stored config names the file '.*evil.py', which is not run{GIVE}"
TYPE = f"the stored config has the type .*, which no installed package registers{GIVE}"
SCOPE = f"the stored config has the scope 'evil', whose package is not imported{GIVE}"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A file, and a package that can be imported, which leave a file `ran` when they run."""
    (tmp_path / "evil").mkdir()
    for name in ("evil.py", "evil/__init__.py", "evil/registry.py", "lone_module.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nmodel = dict()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "evil.py"


def model(**student):
    """A distillation's config with these settings of the student's; what is empty is left out."""
    settings = {**retinanet(), **student}
    return dict(model=distillation(architecture={key: value for key, value in settings.items() if value != {}}))


def hostile(path: Path) -> dict[str, tuple[dict | str, str]]:
    """By name: a config or a line to add to one, and what is said to it."""
    up = "/".join([".."] * 20)
    command = f"touch {path.parent / 'ran'}"
    system = dict(type="os.system", command=command)
    package = dict(type="mmengine.utils.package_utils.call_command", cmd=command.split())
    return {
        "import": ("import evil", CODE),
        "call": (f"x = __import__('os').system({command!r})", CODE),
        "loop": ("x = [i for i in (1, 2)]", CODE),
        "attribute": ("x = dict.__base__", CODE),
        "base": (f"_base_ = {str(path)!r}", CODE),
        "bases": (f"_base_ = [{str(path)!r}]", CODE),
        "student": (dict(model=distillation(architecture=str(path))), FILE),
        "cfg_path": (dict(model=distillation(architecture=dict(cfg_path=str(path)))), FILE),
        "package": (dict(model=distillation(architecture=f"mmdet::{path}")), FILE),
        "upwards": (dict(model=distillation(architecture=dict(cfg_path=f"mmdet::retinanet/{up}{path}"))), FILE),
        "other package": (dict(model=distillation(architecture="evil::x/evil.py")), FILE),
        "nested": (model(neck=dict(_scope_="mmrazor", cfg_path=f"mmdet::retinanet/{up}{path}")), FILE),
        "detector": (model(type="KnowledgeDistillationSingleStageDetector", teacher_config=str(path)), FILE),
        "function": (model(backbone=system), TYPE),
        "of a package": (
            model(backbone=package),
            TYPE,
        ),
        "module": (model(backbone=dict(type="lone_module")), TYPE),
        "evaluated": (model(test_cfg=dict(nms=dict(type=f"__import__('os').system({command!r})"))), TYPE),
        "preprocessor": (
            {**model(data_preprocessor={}), "data_preprocessor": system},
            TYPE,
        ),
        "scope": (model(backbone=dict(type="ResNet", _scope_="evil")), SCOPE),
        "default scope": ({**model(), "default_scope": "evil"}, SCOPE),
    }


def save(path: Path, config: dict | str) -> Path:
    """What each of the readers takes."""
    text = config if isinstance(config, str) else Config(config).pretty_text
    weights = {f"architecture.{key}": value for key, value in WEIGHTS.items()}
    torch.save(dict(state_dict=weights, meta=dict(cfg=text), config=text, inputs=[], samples=[]), path)
    return path


WEIGHTS = build(retinanet()).state_dict()

READERS = {
    "export_student": lambda path: export_student(path, path.with_name("student.pth")),
    "export_onnx": lambda path: export_onnx(path, path.with_name("student.onnx"), (64, 64)),
    "replay": lambda path: read_batch(str(path)),
}


@pytest.mark.parametrize("name", hostile(Path("/")))
def test_a_hostile_config_runs_nothing(name, evil, tmp_path):
    config, message = hostile(evil)[name]
    if isinstance(config, str):
        config = f"{Config(model()).pretty_text}\n{config}\n"
    path = save(tmp_path / "epoch_1.pth", config)
    for reader, read in READERS.items():
        if (reader, name) != ("replay", "preprocessor"):  # of which it takes nothing
            with pytest.raises(ValueError, match=message):
                read(path)
    assert not (tmp_path / "ran").exists() and not list(tmp_path.glob("student*"))


def test_modules_of_the_users_own_are_not_imported_unless_he_names_the_config(evil, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(config_text, "warn", said.append)
    config = {**model(), "custom_imports": dict(imports=["evil", "pcka_mmdet", "mmpretrain.models"])}
    path = save(tmp_path / "epoch_1.pth", config)
    export_student(path, tmp_path / "out.pth")
    read_batch(str(path))
    assert len(said) == 2 and not (tmp_path / "ran").exists()
    assert (
        "custom_imports ['evil'] of the stored config are not imported. Where they are needed, give the config"
        in said[0]
    )
    (tmp_path / "mine.py").write_text(Config(config).pretty_text.replace("'mmpretrain.models',", ""))
    export_student(path, tmp_path / "out.pth", load_config(str(tmp_path / "mine.py")))
    assert (tmp_path / "ran").exists()


def test_a_type_of_the_users_own_asks_for_the_config(tmp_path):
    path = save(tmp_path / "epoch_1.pth", model(backbone=dict(type="MyBackbone")))
    with pytest.raises(ValueError, match=rf"the stored config cannot be built \(.*MyBackbone.*\){GIVE}"):
        export_student(path, tmp_path / "out.pth")


def test_what_a_model_may_name():
    """Types by name, by scope, by their full path as MMEngine's new configs have them, and a function by its name."""
    names = ["ResNet", "mmdet.ResNet", "mmdet.models.ResNet", "mmdet.models.backbones.resnet.ResNet", "nms", "RoIAlign"]
    weights = dict(type="Pretrained", checkpoint="detectron2://ImageNetPretrained/MSRA/R-50.pkl")
    refuse_code(Config(), [dict(type=name) for name in names], "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", weights)


@pytest.mark.parametrize(
    "kind, harmless", [("torch.nn.BatchNorm2d", True), ("torch.nn.init.normal_", False), ("torch.nn.none", False)]
)
def test_layers_of_torch_as_a_python_style_config_names_them(kind, harmless):
    config = Config(dict(model=dict(type="mmdet.RetinaNet", norm_cfg=dict(type=kind))))
    if harmless:
        refuse_code(config, config.model)
        return
    with pytest.raises(ValueError, match=TYPE):
        refuse_code(config, config.model)


def test_what_mmengine_writes_is_read_as_mmengine_reads_it():
    config = Config(
        dict(a=-1.5, b=[(1, None), dict(c="x")], d={"not a name": {1: True}, "e": {"f", "g"}}, h=set(), i={})
    )
    assert read_config(config.pretty_text).to_dict() == config.to_dict()
    assert read_config("x = [inf, -inf]\ny = x").y == [float("inf"), -float("inf")]
    zoo = Config.fromfile("configs/retinanet/pcka-mimic_fpn_retinanet_x101_retinanet_r50_2x_coco.py")
    assert read_config(zoo.pretty_text).to_dict() == Config.fromstring(zoo.pretty_text, ".py").to_dict()


def test_operators_of_mmcv_as_a_python_style_config_names_them():
    assert read_config("nms = dict(type='mmcv.ops.nms', iou=0.5)").nms == dict(type="nms", iou=0.5)


@pytest.mark.parametrize("module", ["mmengine.model", "mmengine.model.weight_init"])
@pytest.mark.parametrize("name", ["Pretrained", "Constant", "Kaiming"])
def test_initializers_as_a_python_style_config_names_them(name, module):
    config = read_config(f"model = dict(init_cfg=dict(type='{module}.{name}Init'))")
    assert config.model.init_cfg.type == name
    refuse_code(config, config.model)


@pytest.mark.parametrize("text", ["x = (", "x = -'a'", "text = 1", "x = {[]: 1}", "x" * 9, "x = " + "[" * 999])
def test_a_text_that_is_no_config(text):
    with pytest.raises(ValueError, match="the stored config "):
        read_config(text)
