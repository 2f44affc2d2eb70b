"""RoIHeadLoss: the RoI head of Faster and Cascade R-CNN on the student's maps."""

import copy

import pytest
import torch

from pcka_mmdet.models import FPNDistill, RoIHeadLoss
from pcka_mmdet.models.attempts import OutOfMemoryError
from pcka_mmdet.models.distillers.fpn_distiller import TeacherStep
from pcka_mmdet.models.losses.level_loss import Batch
from pcka_mmdet.models.sources import RoIOutputs
from pcka_mmdet.models.teacher.heads import _refined
from pcka_mmdet.models.teacher.teacher import Teacher
from tests.boxes import corners, giou
from tests.detectors import build, faster_rcnn, maps, raw_batch, retinanet, step

LEVELS = (8, 16, 32)
"""Strides that the RoI head reads."""


def distilled(teacher: dict, student: dict | None = None, **options) -> FPNDistill:
    loss = dict(type="pcka_mmdet.RoIHeadLoss", **options)
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=dict(roi=loss))
    torch.manual_seed(0)
    return FPNDistill(student or retinanet(channels=24), copy.deepcopy(teacher), distiller, "random")


def compare(model: FPNDistill, student: list[torch.Tensor], teacher: list[torch.Tensor]) -> torch.Tensor:
    batch = Batch(None, (128, 128), model.student, model._teacher, teacher)
    return model.distiller.compute_distill_losses(dict(neck=student), [TeacherStep(dict(neck=teacher), batch)])[
        "loss_roi"
    ]


@pytest.mark.parametrize("stages", [1, 3])
def test_a_step_that_leaves_the_teacher_alone(stages, monkeypatch):
    """The student is of one stage; the term reaches its neck and the connectors. No proposal is in the padding."""
    model, sizes = distilled(faster_rcnn(stages), strides=LEVELS), []
    propose = model._teacher.own_proposals
    monkeypatch.setattr(
        model._teacher, "own_proposals", lambda maps, *rest: sizes.append(rest[0]) or propose(maps, *rest)
    )
    losses = model.train()(**model.data_preprocessor(raw_batch((64, 64), (64, 96)), True), mode="loss")
    assert losses["distill.loss_roi"] > 0 and sizes == [[(64, 64), (64, 96)]]
    losses["distill.loss_roi"].backward(retain_graph=True)
    assert model.student.neck.lateral_convs[0].conv.weight.grad.abs().max() > 0
    assert model.distiller.losses["roi"].connectors["s8"].weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    step(model, losses)


@pytest.mark.parametrize("stages", [1, 3])
def test_the_teachers_own_maps_are_where_it_is_zero(stages):
    model = distilled(faster_rcnn(stages), student=retinanet())
    student_maps = [m.requires_grad_() for m in maps(0)]
    loss = compare(model, student_maps, maps(0))
    torch.testing.assert_close(loss, torch.zeros(()), rtol=0, atol=1e-5)
    gradients = torch.autograd.grad(loss, student_maps[:3], allow_unused=True)
    assert all(gradient is None or gradient.abs().max() < 1e-5 for gradient in gradients)
    assert compare(model, maps(1), maps(0)) > 0


def test_a_gradient_for_the_connector_of_a_level_that_the_roi_head_does_not_read():
    """DDP waits for the gradient of each parameter."""
    model = distilled(faster_rcnn())
    compare(model, maps(1, channels=24), maps(0)).backward()
    assert sorted(model.distiller.losses["roi"].connectors) == ["s16", "s32", "s64", "s8"]
    assert all(parameter.grad is not None for parameter in model.distiller.parameters())


def test_equals_the_formula_written_as_a_loop():
    model = distilled(faster_rcnn(), student=retinanet(), loss_weight=2.0, box_weight=0.5, proposals=10)
    for parameter in model.teacher.roi_head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    student, teacher = maps(1), maps(0)
    teacher_outputs = model._teacher.own_proposals(teacher, [(128, 128)] * 2, 10)[0]
    student_outputs = model._teacher.roi_head(student, [teacher_outputs.rois])[0]
    assert 0 < len(teacher_outputs.rois) <= 20
    classes = boxes = weights = differences = 0.0
    stds = torch.tensor(model.teacher.roi_head.bbox_head.bbox_coder.stds).double()
    roi = torch.tensor([100.0, 50.0, 40.0, 80.0])  # any one: IoU does not depend on it
    for student_scores, teacher_scores, student_deltas, teacher_deltas in zip(
        student_outputs.cls_score.double(),
        teacher_outputs.cls_score.double(),
        student_outputs.bbox_pred,
        teacher_outputs.bbox_pred,
        strict=True,
    ):
        p, q = student_scores.softmax(0), teacher_scores.softmax(0)
        differences += (p - q).abs().sum() / 2
        classes += (p - q).abs().sum() / 2 * -(q * p.log()).sum()
        best = q[:-1].argmax()
        score = 1 - q[-1]
        student_box, teacher_box = (
            corners(roi, side[4 * best : 4 * best + 4].double() * stds) for side in (student_deltas, teacher_deltas)
        )
        boxes += score**2 * 2 * (1 - giou(student_box, teacher_box))
        weights += score**2
    expected = 2.0 * (classes + 0.5 * boxes) / max(weights, 1)
    torch.testing.assert_close(compare(model, student, teacher).double(), expected, rtol=1e-4, atol=0)
    similarity = model.distiller.losses["roi"].metrics()["similarity.roi_head"].double()
    torch.testing.assert_close(similarity, 1 - differences / len(teacher_outputs.rois), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("stages", "clip_border"), [(1, True), (3, True), (3, False)])
def test_own_proposals_are_those_of_mmdetections_prediction(stages, clip_border):
    """Of the last stage of a cascade, the boxes that its refinement gives."""
    model = distilled(faster_rcnn(stages), student=retinanet())
    for head in model.teacher.roi_head.bbox_head if stages > 1 else ():
        head.bbox_coder.clip_border = clip_border
    detector, metas = model.teacher.eval(), [dict(img_shape=(128, 128), scale_factor=(1, 1))] * 2
    outputs = model._teacher.own_proposals(maps(0), [(128, 128)] * 2, 16)
    assert len(outputs) == stages
    with torch.no_grad():
        proposals = detector.rpn_head.predict_by_feat(*detector.rpn_head(maps(0)), batch_img_metas=metas)
        boxes = [instances.bboxes for instances in proposals]
        rois = torch.cat([torch.cat([b.new_full((len(b), 1), i), b], 1) for i, b in enumerate(boxes)])
        torch.testing.assert_close(outputs[0].rois, rois)
        if stages > 1:
            refined, _, deltas = detector.roi_head._refine_roi(maps(0), rois, metas, [len(b) for b in boxes])
            torch.testing.assert_close(outputs[-1].rois, torch.cat(refined))
            torch.testing.assert_close(outputs[-1].bbox_pred, torch.cat(deltas))


def test_the_rpn_runs_once_for_both_losses():
    losses = dict(head=dict(type="pcka_mmdet.HeadLoss"), roi=dict(type="pcka_mmdet.RoIHeadLoss"))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    model = FPNDistill(faster_rcnn(), faster_rcnn(), distiller, "random")
    calls = []
    model.teacher.rpn_head.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    model.train()(**model.data_preprocessor(raw_batch((128, 128)), True), mode="loss")
    assert sorted(calls) == [False, True]  # on the teacher's maps, and on the student's


def test_proposals_on_levels_that_the_student_lacks_are_left_out():
    model = distilled(faster_rcnn(), student=retinanet(start_level=2))  # strides 16 to 128
    teacher = maps(0)
    sides = torch.tensor([40.0, 120.0, 50.0, 250.0])  # an extractor takes sides below 112 from the finest level
    rois = torch.stack([torch.zeros(4), torch.zeros(4), torch.zeros(4), sides, sides], dim=1)
    whole = RoIOutputs(rois, torch.arange(4.0)[:, None], torch.zeros(4, 4))
    extractor = model.teacher.roi_head.bbox_roi_extractor
    assert model.distiller.losses["roi"]._kept(extractor, whole).tolist() == [0, 1, 0, 1]
    student_maps = [*maps(0)[1:], torch.zeros(2, 16, 1, 1)]
    torch.testing.assert_close(compare(model, student_maps, teacher), torch.zeros(()), rtol=0, atol=1e-5)
    coder, kept = model.teacher.roi_head.bbox_head.bbox_coder, torch.tensor([0.0, 1, 0, 1])
    sides = [RoIOutputs(rois, torch.randn(4, 3), torch.randn(4, 8)) for _ in range(2)]
    selected = [RoIOutputs(*(output[kept.bool()] for output in side)) for side in sides]
    loss = model.distiller.losses["roi"]
    torch.testing.assert_close(loss._compare(coder, *sides, kept), loss._compare(coder, *selected, torch.ones(2)))


def test_no_wait_for_a_device():
    """Tensors of device meta have no values, so an operation that waits for one raises. MMDetection's NMS does."""
    model = distilled(faster_rcnn(3), student=retinanet(start_level=2))
    head, loss = model.teacher.roi_head.bbox_head[0], model.distiller.losses["roi"]
    outputs = RoIOutputs(*(torch.empty(6, width, device="meta") for width in (5, 3, 4)))
    assert _refined(head.bbox_coder, outputs, [4, 2], [(64, 64), (64, 96)]).shape == (6, 5)
    kept = loss._kept(model.teacher.roi_head.bbox_roi_extractor[0], outputs)
    assert [value.shape for value in loss._compare(head.bbox_coder, outputs, outputs, kept)] == [()] * 5


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(bbox_head=dict(type="DoubleConvFCBBoxHead")), "the RoI head of a FasterRCNN fails here"),
        (dict(bbox_roi_extractor=dict(type="GenericRoIExtractor")), "works in another way: use pcka_mmdet.HeadLoss"),
    ],
    ids=["double head", "generic extractor"],
)
def test_roi_heads_of_another_kind_are_refused(change, message):
    teacher = faster_rcnn()
    roi_head = teacher["roi_head"]
    if "bbox_head" in change:
        options = dict(conv_out_channels=8, num_convs=1, num_fcs=1, in_channels=16, fc_out_channels=8, roi_feat_size=3)
        keep = {key: roi_head["bbox_head"][key] for key in ("num_classes", "bbox_coder", "loss_cls", "loss_bbox")}
        roi_head["bbox_head"] = dict(change["bbox_head"], **options, **keep)
    else:
        roi_head["bbox_roi_extractor"]["type"] = change["bbox_roi_extractor"]["type"]
    with pytest.raises(ValueError, match=message):
        distilled(teacher)


def test_maps_in_channels_last():
    """RoIAlign would read them as if they were not."""
    model, student, teacher = distilled(faster_rcnn()), maps(1, channels=24), maps(0)
    last = [m.to(memory_format=torch.channels_last) for m in student]
    torch.testing.assert_close(compare(model, last, teacher), compare(model, student, teacher))


def test_memory_that_ends_is_no_reason_to_refuse(monkeypatch):
    def fail(teacher):
        raise OutOfMemoryError("16 GiB")

    monkeypatch.setattr(Teacher, "try_roi_head", fail)
    with pytest.raises(OutOfMemoryError, match="16 GiB"):
        distilled(faster_rcnn())


def test_an_operator_that_a_gpu_alone_has_is_no_reason_to_refuse(monkeypatch):
    def fail(teacher):
        raise RuntimeError("deform_roi_pool_forward_impl: implementation for device cpu not found.")

    monkeypatch.setattr(Teacher, "try_roi_head", fail)
    assert distilled(faster_rcnn()).distiller.terms["roi"]


def test_a_roi_head_that_was_not_loaded_is_refused_and_the_rpn_is_not(tmp_path):
    weights = build(faster_rcnn()).state_dict()
    torch.save({k: v for k, v in weights.items() if "roi_head" not in k}, tmp_path / "teacher.pth")

    def made(loss):
        distiller = dict(type="pcka_mmdet.FPNDistiller", losses=dict(judge=dict(type=loss)))
        return FPNDistill(retinanet(), faster_rcnn(), distiller, str(tmp_path / "teacher.pth"))

    with pytest.raises(ValueError, match="a loss reads the teacher's roi_head, and its head was not loaded in full"):
        made("pcka_mmdet.RoIHeadLoss")
    made("pcka_mmdet.HeadLoss")


def test_a_number_of_proposals():
    with pytest.raises(ValueError, match="RoIHeadLoss: proposals is at least 1, got 0: write 128"):
        RoIHeadLoss(proposals=0)


def test_other_teachers_are_refused():
    with pytest.raises(
        ValueError, match="RoIHeadLoss: the teacher, a RetinaNet, has no RoI head: use pcka_mmdet.HeadLoss"
    ):
        distilled(retinanet())
