"""SimilarityHook in a run: what it logs and when, and that nothing else changes."""

import re
from typing import ClassVar

import pytest
import torch
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

from pcka_mmdet.engine.hooks.similarity import SimilarityHook
from pcka_mmdet.functional.map_similarity import LevelMatrix, similarities
from tests.detectors import distillation, faster_rcnn, retinanet
from tests.runners import runner, validation

NAMES = [f"similarity.{name}_s{s}" for s in (8, 16) for name in ("cka", "cka_debiased", "cosine", "norm_ratio")]


def hook(**options):
    return dict(type="pcka_mmdet.SimilarityHook", **options)


def logged(run, mode="train"):
    scalars = run.message_hub.log_scalars
    return {k.removeprefix(f"{mode}/"): v.data[0].tolist() for k, v in scalars.items() if k.startswith(f"{mode}/sim")}


def own_head():
    """A distillation whose losses read neither side's neck maps."""
    return distillation(
        distiller=dict(type="pcka_mmdet.FPNDistiller", losses=dict(own=dict(type="pcka_mmdet.OwnHeadLoss"))),
        balance=dict(ratio=1.0),
    )


def test_every_so_many_iterations(tmp_path):
    """And in the last one of each epoch of three. The values are those of the maps of that step."""
    run = runner(own_head(), tmp_path, epochs=2, custom_hooks=[hook(interval=4)])
    seen, measure = [], {}

    def keep(student, teacher):
        seen.append(similarities(student[0].detach(), teacher[0]))
        measure["original"](student, teacher)

    measuring = next(h for h in run.hooks if isinstance(h, SimilarityHook))
    measure["original"], measuring._measure = measuring._measure, keep
    run.train()
    values = logged(run)
    assert len(seen) == 4 and set(NAMES) <= values.keys()  # of the iterations 0, 2, 4 and 5
    for name, value in seen[1].items():
        assert values[f"similarity.{name}_s8"][1] == pytest.approx(value.item(), rel=1e-6)
    strides = [values[f"similarity.cka_s{s}"][0] for s in (8, 16, 32, 64) if f"similarity.cka_s{s}" in values]
    assert values["similarity.cka"][0] == pytest.approx(sum(strides) / len(strides))


def test_the_console_has_the_age(tmp_path, capsys):
    """The log's line of a step without a measurement says how old the similarity is."""
    processor = dict(type="pcka_mmdet.LevelLogProcessor")
    options = dict(custom_hooks=[hook(interval=50)], log_processor=processor, log_level="INFO")
    runner(own_head(), tmp_path, epochs=2, **options).train()
    lines = [line for line in capsys.readouterr().out.splitlines() if "Epoch(train)" in line]
    ages = [re.findall(r"similarity\.cka: [\d.]+(?: \((\d) steps ago\))?", line) for line in lines]
    assert ages == [[""], ["1"], [""], ["1"], ["2"], [""]]


@VISBACKENDS.register_module()
class Kept(BaseVisBackend):
    """Keeps the scalars that TensorBoard or WandB would get."""

    scalars: ClassVar[dict] = {}
    experiment = None

    def _init_env(self):
        pass

    def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs):
        self.scalars.update(scalar_dict)


def test_every_backend_of_the_visualizer_gets_them(tmp_path):
    visualizer = dict(type="Visualizer", vis_backends=[dict(type="Kept", save_dir=str(tmp_path))])
    runner(own_head(), tmp_path, custom_hooks=[hook()], visualizer=visualizer).train()
    assert Kept.scalars.keys() >= {*NAMES, "similarity.cka", "similarity.own_head", "balance.cosine_all"}


def test_the_training_is_the_same_without_it(tmp_path):
    states = []
    for hooks in ([], [hook(interval=1)]):
        run = runner(distillation(), tmp_path / str(len(hooks)), custom_hooks=hooks, **validation())
        run.train()
        states.append(run.model.state_dict())
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize("first", [0, 1])
def test_losses_on_backbones_get_backbones(tmp_path, first):
    """A measured step asks the teacher for neck maps too; steps without a measurement do not."""
    losses = dict(pcka=dict(type="pcka_mmdet.PCKALoss", source="backbone", average="batch", patch_size=2))
    model = distillation(distiller=dict(type="pcka_mmdet.FPNDistiller", losses=losses))
    run = runner(model, tmp_path, custom_hooks=[hook(interval=2)], **validation())
    seen, forward = [], run.model._teacher.neck_forward

    class Watched:
        def __getattr__(self, name):
            return getattr(forward, name)

        def __call__(self, images, parts):
            record = forward(images, parts)
            seen.append({source: [m.shape[1] for m in maps] for source, maps in record.items()})
            return record

    run.model._teacher.neck_forward = Watched()
    if first:  # as a training that is resumed at an iteration that is not measured
        forward(torch.zeros(1, 3, 64, 64), ["backbone"])
    run.train()
    whole, backbones = dict(backbone=[12, 24, 48, 96], neck=[16] * 4), dict(backbone=[12, 24, 48, 96])
    assert seen == [whole, backbones, whole, dict(neck=[16] * 4), dict(neck=[16] * 4)]


def test_a_matrix_at_each_validation(tmp_path):
    """Of the finest levels here: those that are smaller have fewer than 4 positions in a batch."""
    run = runner(own_head(), tmp_path, epochs=2, custom_hooks=[hook(val_batches=1)], **validation())
    run.train()
    values = logged(run, "val")
    names = [f"similarity.cka_s{row}_teacher_s{column}" for row in (8, 16) for column in (8, 16)]
    assert set(names) <= values.keys() and all(len(value) == 2 for value in values.values())
    assert all(-1 <= value <= 1.001 for series in values.values() for value in series)
    (measuring,) = (one for one in run.hooks if isinstance(one, SimilarityHook))
    assert measuring._record == {}  # the maps of the batch are held no longer


def test_the_names_of_a_validations_matrix(tmp_path, monkeypatch):
    """The student's level comes first: rows are its levels."""
    monkeypatch.setattr(LevelMatrix, "values", lambda self: torch.arange(16.0).view(4, 4))
    run = runner(own_head(), tmp_path, epochs=1, custom_hooks=[hook(val_batches=1)], **validation())
    run.train()
    values, strides = logged(run, "val"), (8, 16, 32, 64)
    matrix = [values[f"similarity.cka_s{row}_teacher_s{column}"] for row in strides for column in strides]
    assert matrix == [[float(number)] for number in range(16)]


def test_a_teacher_like_the_student_has_similarity_1(tmp_path):
    student = retinanet()
    student["backbone"]["norm_eval"] = True
    model, still = distillation(architecture=student, teacher=student), dict(optimizer=dict(type="SGD", lr=0.0))
    run = runner(model, tmp_path, custom_hooks=[hook(val_batches=2)], optim_wrapper=still, **validation())
    run.model.init_weights()
    run.model.teacher.load_state_dict(run.model.student.state_dict())
    run.train()
    assert logged(run)["similarity.cka_s8"] == pytest.approx([1.0] * 2, abs=1e-4)
    assert logged(run, "val")["similarity.cka_s16_teacher_s16"] == pytest.approx([1.0], abs=1e-4)


@pytest.mark.parametrize(
    "stop",
    [dict(type="mmrazor.StopDistillHook", stop_epoch=1), dict(type="pcka_mmdet.LossScheduleHook", stop=2)],
    ids=lambda stop: stop["type"],
)
def test_values_leave_the_log_when_the_distillation_stops(stop, tmp_path):
    run = runner(own_head(), tmp_path, epochs=2, custom_hooks=[stop, hook(interval=1)], **validation())
    run.train()
    scalars = run.message_hub.log_scalars
    assert logged(run) == {} and not [name for name in scalars if "balance" in name or "distill" in name]
    total, classes, boxes = (scalars[f"train/{name}"] for name in ("loss", "student.loss_cls", "student.loss_bbox"))
    steps = len(total.data[0])  # of the second epoch only
    assert steps < len(classes.data[0]) and total.mean() == pytest.approx(classes.mean(steps) + boxes.mean(steps))
    assert all(len(value) == 1 for value in logged(run, "val").values())


def test_a_step_without_a_teacher_is_measured_later(tmp_path):
    schedule = dict(type="pcka_mmdet.LossScheduleHook", ramp=3)  # the factor of the first step is 0
    run = runner(distillation(), tmp_path, custom_hooks=[schedule, hook()])
    run.train()
    assert len(logged(run)["similarity.cka_s8"]) == 2  # in the second step for the first, and in the last


def test_a_model_without_pairs_of_neck_maps(tmp_path):
    run = runner(retinanet(), tmp_path / "plain", custom_hooks=[hook()])
    run.train()
    assert logged(run) == {}
    backbones = dict(pcka=dict(type="pcka_mmdet.PCKALoss", source="backbone", average="batch", patch_size=2))
    teacher = dict(retinanet(), neck=None)
    model = distillation(teacher=teacher, distiller=dict(type="pcka_mmdet.FPNDistiller", losses=backbones))
    run = runner(model, tmp_path / "neckless", custom_hooks=[hook()])
    run.train()
    assert [name for name in logged(run) if "pcka" not in name] == []


def test_several_teachers(tmp_path):
    """The levels are those of the teacher that teaches."""
    teachers = [dict(faster_rcnn(), ckpt="random", until=0.5), dict(retinanet(width=12), ckpt="random")]
    model = distillation(teachers=teachers)
    del model["teacher"], model["teacher_ckpt"]
    run = runner(model, tmp_path, epochs=2, custom_hooks=[hook(interval=1)])
    run.train()
    assert len(logged(run)["similarity.cka_s8"]) == 6


def test_values_out_of_range():
    with pytest.raises(ValueError, match="interval is at least 1 and val_batches at least 0, got interval=0"):
        SimilarityHook(interval=0)
    with pytest.raises(ValueError, match="val_batches=-1"):
        SimilarityHook(val_batches=-1)
