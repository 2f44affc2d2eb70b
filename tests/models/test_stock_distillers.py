"""The losses dropped into MMRazor's distiller and algorithm: one recorder, one mapping."""

import pytest
import torch

from tests.detectors import build, raw_batch, retinanet
from tests.runners import runner


def stock(loss: dict) -> dict:
    mapping = dict(
        student=dict(recorder="neck", from_student=True),
        teacher=dict(recorder="neck", from_student=False),
    )
    return dict(
        type="mmrazor.FpnTeacherDistill",
        architecture=dict(retinanet(), _scope_="mmdet"),
        teacher=dict(retinanet(), _scope_="mmdet"),
        distiller=dict(
            type="mmrazor.ConfigurableDistiller",
            student_recorders=dict(neck=dict(type="mmrazor.ModuleOutputs", source="neck")),
            teacher_recorders=dict(neck=dict(type="mmrazor.ModuleOutputs", source="neck")),
            distill_losses=dict(loss_distill=loss),
            loss_forward_mappings=dict(loss_distill=mapping),
        ),
    )


@pytest.mark.parametrize(
    "loss", [dict(type="pcka_mmdet.PCKALoss", patch_size=2), dict(type="pcka_mmdet.MimicLoss")], ids=["pcka", "mimic"]
)
@pytest.mark.filterwarnings("ignore:PCKALoss leaves out levels")
def test_a_loss_on_the_whole_tuple_of_neck_outputs(loss):
    model = build(stock(loss))
    model.train()  # returns None in MMRazor
    for parameter in model.teacher.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    losses = model(**model.data_preprocessor(raw_batch(), True), mode="loss")
    neck = [m.recorders["neck"].get_record_data() for m in _recorders(model)]
    torch.testing.assert_close(losses["distill.loss_distill"], model.distiller.distill_losses["loss_distill"](*neck))
    losses["distill.loss_distill"].backward()
    assert model.architecture.backbone.conv1.weight.grad.abs().max() > 0


def test_a_loss_on_one_recorded_map():
    config = stock(dict(type="pcka_mmdet.PCKALoss", patch_size=2))
    for side in config["distiller"]["loss_forward_mappings"]["loss_distill"].values():
        side["data_idx"] = 0
    model = build(config)
    model.train()
    losses = model(**model.data_preprocessor(raw_batch(), True), mode="loss")
    student, teacher = (m.recorders["neck"].get_record_data(0, 0) for m in _recorders(model))
    loss = model.distiller.distill_losses["loss_distill"]
    torch.testing.assert_close(losses["distill.loss_distill"], loss(student, teacher))


@pytest.mark.filterwarnings("ignore:PCKALoss leaves out levels")
def test_it_trains_in_the_runner(tmp_path):
    run = runner(stock(dict(type="pcka_mmdet.PCKALoss", patch_size=2)), tmp_path)
    run.train()
    assert run.iter == 3
    logged = run.message_hub.log_scalars["train/distill.loss_distill"].data[0]
    assert len(logged) == 3 and (logged > 0).all()


def _recorders(model):
    return model.distiller.student_recorders, model.distiller.teacher_recorders
