"""Several teachers, one after another or at once."""

import copy
import json

import pytest
import torch
from mmengine.logging import MessageHub

from pcka_mmdet.checkpoints.resume import check_record, training_record
from pcka_mmdet.configuration.distillation import self_contained
from pcka_mmdet.engine.checks import preflight
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.distillers.level_table import level_table
from pcka_mmdet.models.teacher.schedule import TeacherEntry, describe, read_teachers
from tests.detectors import build, distillation, losses_of, raw_batch, retinanet
from tests.runners import runner

MIMIC = dict(type="pcka_mmdet.FPNDistiller", losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss")))


def several(*teachers: dict, distiller: dict = MIMIC, **options) -> dict:
    """The student of `distillation`, with these teachers."""
    config = distillation(distiller=copy.deepcopy(distiller), teachers=list(teachers), **options)
    del config["teacher"], config["teacher_ckpt"]
    return config


def teacher(seed: int, folder, channels: int = 16, **options) -> dict:
    """An entry of `teachers`, with its weights in a file."""
    torch.manual_seed(seed)
    path = folder / f"teacher{seed}.pth"
    torch.save(dict(state_dict=build(retinanet(channels=channels, width=12)).state_dict()), path)
    return dict(retinanet(channels=channels, width=12), ckpt=str(path), **options)


def with_one(entry: dict) -> dict:
    config = distillation(distiller=copy.deepcopy(MIMIC), teacher_ckpt=entry["ckpt"])
    config["teacher"] = {key: value for key, value in entry.items() if key not in ("ckpt", "weight", "until", "since")}
    return config


def test_at_once_each_has_its_weight_and_its_connectors(tmp_path):
    entries = [teacher(1, tmp_path, weight=0.25), teacher(2, tmp_path, channels=24, weight=2.0)]
    model = build(several(*entries))
    losses = losses_of(model)
    for name, entry in (("mimic", entries[0]), ("mimic_2", entries[1])):
        alone = build(with_one(entry))
        alone.student.load_state_dict(model.student.state_dict())
        for key, loss in alone.distiller.losses.items():
            loss.load_state_dict(model.distiller.losses[key.replace("mimic", name)].state_dict())
        expected = losses_of(alone)
        for stride in (8, 16, 32, 64):
            key = f"distill.loss_mimic_s{stride}"
            torch.testing.assert_close(losses[key.replace("mimic", name)], entry["weight"] * expected[key])
    widths = [model.distiller.losses[key].connector.out_channels for key in ("mimic_s8", "mimic_2_s8")]
    assert widths == [16, 24]


def test_one_after_another(tmp_path):
    """The first half by the first, the second half by the second; only one of them runs."""
    config = several(teacher(1, tmp_path, until=0.5), teacher(2, tmp_path))
    run = runner(config, tmp_path / "run", epochs=2)
    ran = [[], []]
    for number, one in enumerate(run.model._teachers):
        one.detector.backbone.register_forward_hook(lambda *_, n=number: ran[n].append(run.iter))
    run.train()
    assert set(ran[0]) == {0, 1, 2} and set(ran[1]) == {3, 4, 5}
    scalars = run.message_hub.log_scalars
    first, second = (scalars[f"train/distill.loss_{name}_s8"].data[0] for name in ("mimic", "mimic_2"))
    assert [value > 0 for value in first] == [True] * 3 + [False] * 3
    assert [value > 0 for value in second] == [False] * 3 + [True] * 3


def test_a_resumed_training_has_the_teachers_of_its_progress(tmp_path):
    """Bit for bit the same weights as without the interruption."""
    config = several(teacher(1, tmp_path, until=0.5), teacher(2, tmp_path))
    hooks = dict(default_hooks=dict(checkpoint=dict(type="pcka_mmdet.StudentCheckpointHook", interval=1)))
    whole = runner(copy.deepcopy(config), tmp_path / "whole", epochs=2, **hooks)
    whole.train()
    torch.save(torch.load(tmp_path / "whole" / "epoch_1.pth"), tmp_path / "epoch_1.pth")
    resumed = runner(
        config, tmp_path / "resumed", epochs=2, load_from=str(tmp_path / "epoch_1.pth"), resume=True, **hooks
    )
    resumed.train()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    assert torch.load(tmp_path / "whole" / "epoch_2.pth")["meta"]["teacher_sha256"].count(",") == 1
    changed_config = several(teacher(1, tmp_path, until=0.5), teacher(3, tmp_path))
    changed = runner(
        changed_config, tmp_path / "changed", epochs=2, load_from=str(tmp_path / "epoch_1.pth"), resume=True, **hooks
    )
    with pytest.raises(ValueError, match="the teacher's file has the sha256 .*,.*, but this training began with"):
        changed.train()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights of the student after two epochs without a teacher."""
    run = runner(retinanet(), tmp_path_factory.mktemp("alone"), epochs=2)
    run.train()
    return run.model.state_dict()


@pytest.mark.parametrize("until", [None, 0.5], ids=["at once", "one after another"])
def test_null_with_no_weight_the_student_trains_as_it_would_alone(tmp_path, alone, until):
    first = dict(until=until) if until else {}
    balance = dict(ratio=0.0)
    config = several(teacher(1, tmp_path, **first), teacher(2, tmp_path, channels=24), balance=balance)
    run = runner(config, tmp_path / "two", epochs=2)
    run.train()
    assert run.model.distiller.balances["neck"].averages[:, :2].min() > 0  # the losses had gradients
    for key, value in alone.items():
        assert torch.equal(value, run.model.architecture.state_dict()[key]), key


def test_a_loss_of_one_teacher_and_ratios_by_loss(tmp_path):
    losses = dict(
        mimic=dict(type="pcka_mmdet.MimicLoss"),
        pcka=dict(type="pcka_mmdet.PCKALoss", patch_size=2, strides=(8,), teacher=1),
    )
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    entries = teacher(1, tmp_path), teacher(2, tmp_path, channels=24)
    model = build(several(*entries, distiller=distiller, balance=dict(ratio=dict(mimic=0.5))))
    assert list(model.distiller.terms) == ["mimic", "mimic_2", "pcka"]
    assert [terms[0].sources.teacher_index for terms in model.distiller.terms.values()] == [0, 1, 1]
    assert model.distiller.balances["neck"].ratios == {"mimic": 0.5, "mimic_2": 0.5, "pcka": None}
    named = build(several(*entries, distiller=distiller, balance=dict(ratio=dict(mimic=0.5, mimic_2=0.1))))
    assert named.distiller.balances["neck"].ratios == {"mimic": 0.5, "mimic_2": 0.1, "pcka": None}
    batch = model.data_preprocessor(raw_batch(), True)
    with model.distiller.recorder.recording() as student:
        model.student(**batch, mode="loss")
    table = level_table(model.distiller, student)
    assert "output 0, 16 channels; teachers[1]: output 0, 24 channels" in table
    losses["mimic_2"] = dict(losses["pcka"])
    with pytest.raises(
        ValueError, match=r"losses.mimic_2: teachers\[1\]'s losses.mimic is called so: rename one of them"
    ):
        build(several(*entries, distiller=distiller))
    del losses["mimic_2"]
    losses["pcka"]["teacher"] = 2
    with pytest.raises(ValueError, match="losses.pcka.teacher: there are 2 teachers, counted from 0; got 2"):
        build(several(*entries, distiller=distiller))


def test_balanced_a_teacher_has_the_ratio_times_its_weight(tmp_path):
    entries = teacher(1, tmp_path, weight=0.5), teacher(2, tmp_path, channels=24, weight=2.0)
    model = build(several(*entries, balance=dict(ratio=dict(mimic=0.3))))
    losses_of(model)
    assert model.distiller.balances["neck"].factors == {"mimic": 0.5, "mimic_2": 2.0}
    model = build(several(*entries, balance=dict(ratio=0.3)))
    losses_of(model)
    assert model.distiller.balances["neck"].factors == {"all": 2.0}


def test_a_balance_starts_again_where_one_teacher_follows_another(tmp_path):
    model = build(several(teacher(1, tmp_path, until=0.5), teacher(2, tmp_path), balance=dict(ratio=1.0)))
    balance, hub = model.distiller.balances["neck"], MessageHub.get_current_instance()
    hub.update_info("max_iters", 10)
    for iteration, starts_again in ((0, False), (4, False), (5, True), (6, False)):
        hub.update_info("iter", iteration)
        balance.average_all.fill_(1)
        losses_of(model)
        assert (balance.averages == (0 if starts_again else 1)).all(), iteration


def test_a_teacher_whose_losses_have_no_weight_is_not_the_one_that_is_observed(tmp_path):
    losses = dict(mimic=dict(type="pcka_mmdet.MimicLoss", teacher=0))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    model = build(several(teacher(1, tmp_path), teacher(2, tmp_path, channels=24), distiller=distiller))
    assert model.teacher is model._teachers[0].detector


def test_the_teacher_that_teaches_now(tmp_path):
    model = build(several(teacher(1, tmp_path, until=0.5), teacher(2, tmp_path)))
    hub = MessageHub.get_current_instance()
    hub.update_info("max_iters", 10)
    for iteration, expected in ((0, 0), (4, 0), (5, 1), (9, 1)):
        hub.update_info("iter", iteration)
        assert model.teacher is model._teachers[expected].detector
    assert copy.deepcopy(model).teacher is model.teacher  # EMAHook copies no teacher


def test_config_files_records_and_checkpoints(tmp_path):
    """Teachers' files are written out; each checkpoint must be there; different teachers are another training."""
    from mmengine.config import Config

    entries = [
        dict(cfg_path="configs/demo/teacher.py", backbone=dict(base_channels=16), ckpt="random", until=0.5),
        dict(cfg_path="configs/demo/teacher.py", ckpt="random"),
    ]
    config = Config(dict(model=several(*entries, architecture=dict(cfg_path="configs/demo/student.py"))))
    whole = self_contained(config)
    assert [one["backbone"]["base_channels"] for one in whole.model.teachers] == [16, 32]
    assert whole.model.teachers[0]["until"] == 0.5 and whole.model.teachers[0]["ckpt"] == "random"
    preflight.check_weights(config)
    record = training_record(config)
    (tmp_path / ".training.json").write_text(json.dumps(record))
    (tmp_path / "epoch_1.pth").touch()
    check_record(record, tmp_path, resumes=True)
    del config.model.teachers[1]
    with pytest.raises(ValueError, match="teachers was "):
        check_record(training_record(config), tmp_path, resumes=True)
    config.model.teachers[0].ckpt = "none.pth"
    with pytest.raises(FileNotFoundError, match=r"model.teachers.0.ckpt 'none.pth' does not exist"):
        preflight.check_weights(config)
    del config.model.teachers[0]["ckpt"]
    with pytest.raises(ValueError, match="model.teachers.0.ckpt is left out"):
        preflight.check_weights(config)


@pytest.mark.parametrize(
    "entries, expected",
    [
        ([dict(type="A", ckpt="a", until=0.5), dict(type="B", ckpt="b")], [(0, 0.5, 1), (0.5, 1, 1)]),
        ([dict(type="A", weight=0.5), dict(type="B", weight=2)], [(0, 1, 0.5), (0, 1, 2)]),
        ([dict(type="A"), dict(type="B", since=0.3, until=0.6)], [(0, 1, 1), (0.3, 0.6, 1)]),
    ],
)
def test_entries(entries, expected):
    teachers = read_teachers(entries)
    assert [(one.since, one.until, one.weight) for one in teachers] == expected
    assert [one.model for one in teachers] == [dict(type="A"), dict(type="B")]


def test_the_last_step_belongs_to_the_last_teacher():
    assert TeacherEntry(None, None, 0.5, 1.0).weight_at(1.0) == 1.0
    assert TeacherEntry(None, None, 0.0, 0.5).weight_at(0.5) == 0.0


@pytest.mark.parametrize(
    "entries, message",
    [
        ([dict(type="A", until=1.5)], r"teachers\[0\]: expected 0 <= since < until <= 1.*until=1.5"),
        ([dict(type="A", until=0.5), dict(type="B", until=0.4)], r"teachers\[1\]: .* since=0.5, until=0.4"),
        ([dict(type="A", weight=0)], "a positive weight; got .* weight=0"),
        ([dict(type="A", weight=float("inf"))], "a positive weight; got .* weight=inf"),
        ([dict(type="A", until="0.5")], "until='0.5'"),
        ([dict(type="A", until=0.5)], "none of them teaches from 0.5 of the training on"),
        ([dict(type="A", since=0.2)], "none of them teaches from 0 of the training on"),
    ],
)
def test_entries_that_are_refused(entries, message):
    with pytest.raises(ValueError, match=message):
        read_teachers(entries)


def test_the_schedule_in_a_sentence():
    entries = read_teachers([dict(type="A", until=0.5), dict(type="B", weight=2)])
    assert describe(entries) == (
        "teachers, by share of the training (0% is done): teachers.0 from 0% to 50%, teachers.1 from 50% to 100% "
        "with weight 2"
    )


@pytest.mark.parametrize("sides", [{}, dict(teacher=retinanet(), teachers=[retinanet()])])
def test_one_way_to_name_teachers(sides):
    with pytest.raises(ValueError, match="either teacher=... or teachers="):
        FPNDistill(retinanet(), distiller=MIMIC, **sides)


def test_initial_weights_are_no_option_of_the_algorithm():
    """The student's `init_cfg`, and `init_student`, name them."""
    with pytest.raises(TypeError, match="init_cfg"):
        FPNDistill(retinanet(), retinanet(), MIMIC, "random", init_cfg=dict(type="Pretrained", checkpoint="a.pth"))


def test_the_checkpoint_of_a_single_teacher_beside_several():
    with pytest.raises(ValueError, match="teacher_ckpt='a.pth' is a single teacher's: write ckpt=... in each"):
        FPNDistill(retinanet(), distiller=MIMIC, teachers=[retinanet()], teacher_ckpt="a.pth")
