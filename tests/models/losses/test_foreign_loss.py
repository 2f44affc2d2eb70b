"""A loss of MMRazor's on the class logits of heads."""

import pytest
import torch

from pcka_mmdet.models.losses.level_loss import ForeignLoss
from pcka_mmdet.models.sources import RoIOutputs
from pcka_mmdet.registry import MODELS
from tests.detectors import NUM_CLASSES, build, distillation, faster_rcnn, raw_batch, retinanet

DIST = dict(type="mmrazor.DISTLoss", tau=1.0)


def distilled(student: dict, teacher: dict, source: str):
    losses = dict(dist=dict(DIST, source=source))
    return build(
        distillation(
            architecture=student, teacher=teacher, distiller=dict(type="pcka_mmdet.FPNDistiller", losses=losses)
        )
    )


def test_of_a_dense_head_an_anchor_at_a_position_is_a_row():
    model, seen = distilled(retinanet(), retinanet(width=12, channels=24), "head"), []
    assert not list(model.distiller.parameters())  # a connector would not run
    for head in (model.student.bbox_head, model.teacher.bbox_head):
        head.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs[0]))
    losses = model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss")
    student, teacher = (next(s for s in seen if s[0].requires_grad == grad) for grad in (True, False))
    anchors = student[0].shape[1] // NUM_CLASSES
    for stride, student_level, teacher_level in zip((8, 16, 32, 64), student, teacher, strict=True):
        rows = [
            torch.stack(
                [
                    side[image, anchor * NUM_CLASSES : (anchor + 1) * NUM_CLASSES, y, x]
                    for image in range(2)
                    for anchor in range(anchors)
                    for y in range(side.shape[2])
                    for x in range(side.shape[3])
                ]
            )
            for side in (student_level, teacher_level)
        ]
        torch.testing.assert_close(losses[f"distill.loss_dist_s{stride}"], MODELS.build(DIST)(*rows))
    model.parse_losses(losses)[0].backward()
    assert model.student.neck.fpn_convs[0].conv.weight.grad.any()


def test_of_a_roi_head_a_proposal_is_a_row():
    model = distilled(faster_rcnn(), faster_rcnn(width=12), "roi_head")
    losses = model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss")
    assert 0 < losses["distill.loss_dist"] < 4
    rois, boxes = torch.zeros(6, 5), torch.zeros(6, 4)
    student, teacher = torch.randn(2, 6, 4)
    actual = ForeignLoss(MODELS.build(DIST))(RoIOutputs(rois, student, boxes), RoIOutputs(rois, teacher, boxes))
    torch.testing.assert_close(actual, MODELS.build(DIST)(student, teacher))


def test_the_similarity_is_the_cosine_of_both_outputs():
    student, teacher = torch.randn(2, 2, 3, 8, 8).double()
    loss = ForeignLoss(MODELS.build(dict(type="mmrazor.PKDLoss")))
    loss(student, teacher)
    cosine = (student * teacher).sum() / student.norm() / teacher.norm()
    torch.testing.assert_close(loss.metrics(), {"similarity.outputs": cosine})
    loss(student[:, :, ::2, ::2], teacher)  # PKD resizes the maps by itself
    assert loss.metrics() == {}


def test_heads_of_other_anchors_are_refused():
    teacher = retinanet()
    teacher["bbox_head"]["anchor_generator"]["ratios"] = [0.5, 1.0, 2.0]
    model = distilled(retinanet(), teacher, "head")
    with pytest.raises(ValueError, match="DISTLoss compares class logits row by row.*both need the same classes and"):
        model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss")
