"""A teacher's boxes and scores as soft targets of the student's own head."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from pcka_mmdet.models.heads import reader_of
from pcka_mmdet.models.levels import source_levels
from pcka_mmdet.models.losses.head_loss import Sums
from pcka_mmdet.models.losses.level_loss import Batch
from pcka_mmdet.models.queries import QueryOutputs
from pcka_mmdet.models.sources import RoIOutputs
from pcka_mmdet.models.teacher import predictions
from pcka_mmdet.models.teacher.predictions import DUPLICATE, Predictions
from tests import detectors
from tests.detectors import (
    atss,
    build,
    faster_rcnn,
    fcos,
    gfl,
    losses_of,
    raw_batch,
    reppoints,
    retinanet,
    rtmdet,
    step,
    yolox,
)
from tests.detr import KINDS, deformable_detr
from tests.models.heads.test_slots import iou, naive_assignment, slots_of


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmdet")


def distillation(student: dict, teacher: dict, **options) -> dict:
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=dict(boxes=dict(type="pcka_mmdet.PredictionLoss")))
    return detectors.distillation(architecture=student, teacher=teacher, distiller=distiller, **options)


STUDENTS = dict(retinanet=retinanet, fcos=fcos, gfl=gfl, atss=atss, rtmdet=rtmdet, yolox=yolox, faster=faster_rcnn)
TEACHERS = dict(gfl=gfl, atss=atss, reppoints=reppoints, cascade=lambda: faster_rcnn(stages=2))
PAIRS = [("retinanet", teacher) for teacher in TEACHERS] + [("gfl", "fcos"), ("atss", "fcos")]
"""Those that `tests/models/test_pairs.py` does not have."""


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
def test_further_pairs_take_a_step(student, teacher):
    detectors_of = STUDENTS | TEACHERS
    model = build(distillation(detectors_of[student](), detectors_of[teacher](), balance=dict(ratio=1.0))).train()
    losses = losses_of(model)
    assert losses["distill.loss_boxes"] > 0 and torch.isfinite(losses["distill.loss_boxes"])
    assert 0 <= losses["similarity.predictions"] <= 1
    step(model, losses)


@pytest.mark.parametrize("student", ["retinanet", "fcos", "gfl", "rtmdet", "yolox", "detr"])
def test_a_step_in_bfloat16(student):
    config = distillation((STUDENTS | dict(detr=deformable_detr))[student](), fcos())
    if student == "detr":
        config["distiller"]["losses"]["boxes"]["source"] = "decoder"
    model = build(config | dict(balance=dict(ratio=1.0))).train()
    model.teacher.bbox_head.conv_cls.bias.data.zero_()  # it is sure of something
    batch = model.data_preprocessor(raw_batch(), True)
    torch.manual_seed(1)
    expected = model(**batch, mode="loss")["distill.loss_boxes"].item()
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(**batch, mode="loss")
    assert losses["distill.loss_boxes"].item() == pytest.approx(expected, rel=0.1)
    step(model, losses)


def test_two_teachers_of_other_families():
    config = distillation(retinanet(), None)
    del config["teacher"], config["teacher_ckpt"]
    config["teachers"] = [dict(one, ckpt="random") for one in (fcos(), faster_rcnn())]
    model = build(config | dict(balance=dict(ratio=1.0))).train()
    losses = losses_of(model)
    assert losses["distill.loss_boxes"] > 0 and losses["distill.loss_boxes_2"] > 0
    step(model, losses)


@pytest.mark.parametrize("kind", ["RepPointsHead", "PAAHead"])
def test_students_whose_assignment_is_not_known_are_refused(kind):
    student = reppoints() if kind == "RepPointsHead" else atss()
    student["bbox_head"]["type"] = kind
    with pytest.raises(ValueError, match=f"PredictionLoss: what a {kind} is to predict is not known: use a loss on"):
        build(distillation(student, fcos()))


def test_scores_by_a_softmax_are_refused():
    detr = deformable_detr()
    detr["bbox_head"]["loss_cls"] = dict(type="CrossEntropyLoss")
    for pair, side in (((retinanet(), detr), "teacher"), ((detr, retinanet()), "student")):
        config = distillation(*pair)
        config["distiller"]["losses"]["boxes"]["source"] = "head" if side == "teacher" else "decoder"
        with pytest.raises(ValueError, match=f"the {side}, a DeformableDETR, scores classes by a softmax"):
            build(config)


def test_the_loss_is_that_of_a_loop_over_anchors():
    model = build(distillation(retinanet(), fcos()))
    (term,) = model.distiller.all_terms
    _, _, outputs, slots = slots_of(model.student)
    found = torch.tensor(
        [[[4.0, 6.0, 40.0, 44.0], [70.0, 64.0, 86.0, 82.0]], [[20.0, 8.0, 90.0, 70.0], [0.0, 0.0, 9.0, 9.0]]]
    )
    scores = torch.tensor([[[0.9, 0.1], [0.2, 0.6]], [[0.3, 0.2], [0.0, 0.0]]])
    value = term.loss(outputs, Predictions(found, scores), Batch(None, (128, 128), model.student, model._teacher))
    sums = torch.zeros(3, 2).double()  # class terms, box terms and weights, by class
    for b in range(2):
        chosen = naive_assignment(slots.priors.tolist(), found[b].tolist(), scores[b].amax(1).tolist())
        for m, (best, fit) in enumerate(chosen):
            target = scores[b, best].double() * fit
            logits = slots.logits[b, m].double()
            p = logits.sigmoid()
            sums[0] += (p - target).abs() * -(target * p.log() + (1 - target) * (1 - p).log())
            sums[1] += 2 * (1 - giou(slots.boxes[b, m].tolist(), found[b, best].tolist())) * target**2
            sums[2] += target**2
    assert value.item() == pytest.approx(loss_of(*sums), rel=1e-4)


def loss_of(classes: torch.Tensor, boxes: torch.Tensor, weights: torch.Tensor) -> float:
    """The loss from the sums of two classes."""
    factors = (weights.mean() / weights).sqrt() if weights.min() >= 1 else torch.ones(2).double()
    return ((factors @ (classes + boxes)) / max(factors @ weights, 1)).item()


def giou(first, second) -> float:
    hull = math.prod(max(first[i + 2], second[i + 2]) - min(first[i], second[i]) for i in (0, 1))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
    overlap = iou(first, second)
    union = sum(areas) / (1 + overlap)
    return overlap - (hull - union) / hull


def test_a_student_that_predicts_the_teachers_boxes_has_little_to_learn():
    model = build(distillation(retinanet(), fcos()))
    (term,) = model.distiller.all_terms
    _, reader, outputs, slots = slots_of(model.student)
    found = torch.tensor([[[4.0, 6.0, 40.0, 44.0]]]).expand(2, 1, 4)
    scores = torch.tensor([[[0.9, 0.1]]]).expand(2, 1, 2)
    index, fits = reader.assign(slots, 0, found[0], scores[0])
    batch = Batch(None, (128, 128), model.student, model._teacher)
    before = term.loss(outputs, Predictions(found, scores), batch)
    perfect = slots._replace(
        logits=torch.logit((scores[0][index] * fits[:, None]).clamp(1e-6, 1 - 1e-6)).expand(2, -1, -1),
        boxes=found.expand(2, len(index), 4),
    )
    reader_type = type(reader)
    original, reader_type.slots = reader_type.slots, lambda self, *_: perfect
    try:
        after = term.loss(outputs, Predictions(found, scores), batch)
    finally:
        reader_type.slots = original
    assert after < 1e-3 < before and term.loss.similarity == pytest.approx(1, abs=0.02)


def test_an_rpn_learns_where_objects_are():
    """Class scores become those of any object."""
    model = build(distillation(faster_rcnn(), fcos()))
    (term,) = model.distiller.all_terms
    assert term.loss.pairs[0].student.stride == 8
    losses_of(model.train())
    assert reader_of(model.student.rpn_head).family == "RPNHead"


def test_an_rpn_of_another_family_learns_where_objects_are():
    student = faster_rcnn()
    student["rpn_head"] = dict(fcos()["bbox_head"], num_classes=1)
    del student["train_cfg"]["rpn"]["sampler"]
    for classes in (None, [(1, 0)]):
        config = distillation(student, retinanet())
        config["distiller"]["losses"]["boxes"]["classes"] = classes
        model = build(config).train()
        losses = losses_of(model)
        assert losses["distill.loss_boxes"] > 0
        step(model, losses)


SAMPLER = dict(num=16, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True)


def test_proposals_that_the_head_itself_has_chosen():
    """OHEM runs the head without gradient before the forward of the training."""
    student = faster_rcnn()
    student["train_cfg"]["rcnn"]["sampler"] = dict(SAMPLER, type="OHEMSampler")
    config = distillation(student, retinanet())
    config["distiller"]["losses"]["boxes"]["source"] = "roi_head"
    model = build(config).train()
    recorded = []
    compute = model.distiller.compute_distill_losses
    model.distiller.compute_distill_losses = lambda record, steps: recorded.append(record) or compute(record, steps)
    losses = losses_of(model)
    (outputs,) = recorded[0]["roi_head"]
    assert losses["distill.loss_boxes"].requires_grad and outputs.rois[:, 0].unique().tolist() == [0, 1]


def test_a_number_as_ratio_is_for_what_can_be_balanced():
    config = distillation(faster_rcnn(), retinanet(), balance=dict(ratio=0.3))
    losses = config["distiller"]["losses"]
    losses["proposals"] = dict(type="pcka_mmdet.PredictionLoss", source="roi_head")
    assert set(build(config).distiller.balances) == {"head"}
    losses["boxes"] = None
    with pytest.raises(ValueError, match="at the source 'roi_head' cannot be balanced"):
        build(config)
    assert not build(config | dict(balance=dict(ratio=dict(boxes=1.0)))).distiller.balances  # a recipe's, left out


@pytest.mark.parametrize("number", [1, 2])
def test_proposals_of_a_two_stage_student_take_a_step(number):
    config = distillation(faster_rcnn(stages=number), retinanet())
    config["distiller"]["losses"]["proposals"] = dict(type="pcka_mmdet.PredictionLoss", source="roi_head")
    model = build(config | dict(balance=dict(ratio=dict(boxes=1.0)))).train()
    losses = losses_of(model)
    assert losses["distill.loss_proposals"] > 0 and losses["distill.loss_boxes"] > 0
    step(model, losses)
    with pytest.raises(ValueError, match="has no RoI head"):
        config["architecture"] = retinanet()
        build(config)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("balance", [None, dict(ratio=1.0)], ids=["constant", "balanced"])
def test_queries_of_a_detr_take_a_step(kind, balance):
    config = distillation(KINDS[kind](), retinanet())
    config["distiller"]["losses"]["boxes"]["source"] = "decoder"
    model = build(config | dict(balance=balance)).train()
    model.teacher.bbox_head.retina_cls.bias.data.zero_()  # it is sure of something
    losses = losses_of(model)
    assert losses["distill.loss_boxes"] > 0
    step(model, losses)
    assert any(row.startswith("| layer-2") for row in model.level_table.splitlines())


def test_the_loss_of_queries_is_that_of_a_loop():
    config = distillation(deformable_detr(layers=1), retinanet())
    config["distiller"]["losses"]["boxes"]["source"] = "decoder"
    model = build(config)
    (term,) = model.distiller.all_terms
    generator = torch.Generator().manual_seed(0)
    outputs = QueryOutputs(
        torch.randn(1, 6, 2, generator=generator), 0.2 + 0.3 * torch.rand(1, 6, 4, generator=generator)
    )
    found = torch.tensor([[[4.0, 6.0, 40.0, 44.0], [30.0, 20.0, 60.0, 50.0], [1.0, 1.0, 9.0, 9.0]]])
    scores = torch.tensor([[[0.5, 0.1], [0.2, 0.6], [0.05, 0.0]]])
    sample = DetDataSample(metainfo=dict(img_shape=(64, 80)))
    batch = Batch([sample], (64, 96), model.student, model._teacher)
    value = term.loss([outputs], Predictions(found, scores), batch)
    corners = torch.tensor([(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in outputs.boxes[0].tolist()])
    corners = corners * torch.tensor([80, 64, 80, 64])
    assigned = model.student.bbox_head.assigner.assign(
        InstanceData(scores=outputs.logits[0], bboxes=corners),
        InstanceData(bboxes=found[0, :2], labels=torch.tensor([0, 1])),
        img_meta=dict(img_shape=(64, 80)),
    ).gt_inds.tolist()
    assert sorted(assigned) == [0, 0, 0, 0, 1, 2]  # the third box is unsure
    sums = torch.zeros(3, 2).double()
    for n, logits in zip(assigned, outputs.logits[0].double(), strict=True):
        target = scores[0, n - 1].double() if n else torch.zeros(2).double()
        p = logits.sigmoid()
        sums[0] += (p - target).abs() * -(target * p.log() + (1 - target) * (1 - p).log())
        sums[2] += target**2
    for n, box in zip(assigned, corners.tolist(), strict=True):
        sums[1] += 2 * (1 - giou(box, found[0, n - 1].tolist())) * scores[0, n - 1].double() ** 2 if n else 0
    assert value.item() == pytest.approx(loss_of(*sums), rel=1e-4)


def test_the_loss_of_proposals_is_that_of_a_loop():
    config = distillation(faster_rcnn(), retinanet())
    config["distiller"]["losses"] = dict(boxes=dict(type="pcka_mmdet.PredictionLoss", source="roi_head"))
    model = build(config)
    (term,) = model.distiller.all_terms
    generator = torch.Generator().manual_seed(0)
    rois = torch.tensor([[0, 2, 6, 38, 44], [0, 60, 60, 64, 64], [1, 20, 10, 88, 70], [1, 22, 5, 90, 64]]).float()
    outputs = RoIOutputs(rois, torch.randn(4, 3, generator=generator), torch.randn(4, 8, generator=generator))
    found = torch.tensor(
        [[[4.0, 6.0, 40.0, 44.0], [5.0, 6.0, 40.0, 40.0]], [[20.0, 8.0, 90.0, 70.0], [0.0, 0.0, 9.0, 9.0]]]
    )
    scores = torch.tensor([[[0.5, 0.1], [0.2, 0.6]], [[0.9, 0.4], [0.0, 0.0]]])
    value = term.loss([outputs], Predictions(found, scores), Batch(None, (128, 128), model.student, model._teacher))
    coder, total = model.student.roi_head.bbox_head.bbox_coder, 0.0
    for roi, logits, codes in zip(rois, outputs.cls_score.double(), outputs.bbox_pred, strict=True):
        b = int(roi[0])
        overlaps = [iou(roi[1:].tolist(), box) for box in found[b].tolist()]
        fitting = [(overlaps[n] * scores[b, n].max().item(), n) for n in range(2) if overlaps[n] >= 0.5]
        rank, best = max(fitting, default=(0.0, 0))
        score = rank and scores[b, best].max().item()
        target = scores[b, best].double() / max(scores[b, best].sum().item(), 1) if score else torch.zeros(2).double()
        target = torch.cat([target, 1 - target.sum(0, keepdim=True)])
        total += ((logits.softmax(0) - target).abs().sum() / 2 * -(target * logits.log_softmax(0)).sum()).item()
        kind = int(target[:2].argmax())
        box = coder.decode(roi[None, 1:], codes[None, 4 * kind : 4 * kind + 4])[0]
        total += 2 * (1 - giou(box.tolist(), found[b, best].tolist())) * score
    assert value.item() == pytest.approx(total / len(rois), rel=1e-4)


def test_a_proposal_is_to_predict_the_box_that_it_overlaps_most():
    """As by the student's own assigner, for boxes that the teacher is about as sure of."""
    config = distillation(faster_rcnn(), retinanet())
    config["distiller"]["losses"] = dict(boxes=dict(type="pcka_mmdet.PredictionLoss", source="roi_head"))
    model = build(config)
    (term,) = model.distiller.all_terms
    found = torch.tensor([[10.0, 10, 50, 50], [22, 10, 62, 50]])  # their overlap is 0.54
    codes = torch.zeros(2, 8, requires_grad=True)
    outputs = RoIOutputs(torch.cat([torch.zeros(2, 1), found], 1), torch.zeros(2, 3), codes)
    given = Predictions(found[None], torch.tensor([[[0.85, 0.0], [0.0, 0.9]]]))
    term.loss([outputs], given, Batch(None, (64, 64), model.student, model._teacher)).backward()
    objects = InstanceData(bboxes=found, labels=torch.tensor([0, 1]))
    assigned = model.student.roi_head.bbox_assigner.assign(InstanceData(priors=found), objects).gt_inds
    assert assigned.tolist() == [1, 2]
    assert codes.grad[0, :4].abs().sum() < 1e-4 and codes.grad[1, 4:].abs().sum() < 1e-4  # each proposal is its box
    assert not codes.grad[0, 4:].any() and not codes.grad[1, :4].any()


def test_sure_boxes_have_queries_before_unsure_ones():
    """The assigner's costs do not know the scores of boxes, and here are more boxes than queries."""
    config = distillation(deformable_detr(layers=1), retinanet())
    config["distiller"]["losses"]["boxes"]["source"] = "decoder"
    model = build(config)
    (term,) = model.distiller.all_terms
    places = torch.tensor([[0.13 + 0.14 * number, 0.45, 0.1, 0.1] for number in range(6)])
    near = 100 * torch.cat([places[:, :2] - 0.05, places[:, :2] + 0.05], 1)
    found = torch.cat([near, torch.tensor([[5.0, 80, 15, 90], [80, 80, 90, 90]])])[None]
    scores = torch.tensor([[[0.11, 0.0]] * 6 + [[0.95, 0.0]] * 2])
    logits = torch.full((1, 6, 2), -4.0, requires_grad=True)
    batch = Batch([DetDataSample(metainfo=dict(img_shape=(100, 100)))], (100, 100), model.student, model._teacher)
    term.loss([QueryOutputs(logits, places[None])], Predictions(found, scores), batch).backward()
    raised = -logits.grad[0, :, 0]
    assert (raised > 0.1 * raised.max()).sum() == 2


@pytest.mark.parametrize("student", ["retinanet", "gfl", "rtmdet", "faster"])
def test_padding_does_not_count_as_in_the_students_own_training(student):
    model = build(distillation(STUDENTS[student](), fcos())).train()
    kept: list[torch.Tensor] = []
    head = model.student.rpn_head if student == "faster" else model.student.bbox_head
    head.register_forward_hook(lambda module, inputs, outputs: kept.extend(outputs[0]))
    batch = model.data_preprocessor(raw_batch((128, 128), (64, 64)), True)
    losses = model(**batch, mode="loss")
    gradient = torch.autograd.grad(losses["distill.loss_boxes"], kept[0])[0][1].abs().sum(0)
    half = len(gradient) // 2
    assert gradient[:half, :half].all()
    gradient[:half, :half] = 0
    assert not gradient.any()


def test_a_teacher_that_proposes_nothing():
    found = Predictions(torch.zeros(2, 0, 4), torch.zeros(2, 0, 2))
    for student in (retinanet, fcos, rtmdet):
        model = build(distillation(student(), faster_rcnn()))
        (term,) = model.distiller.all_terms
        _, _, outputs, _ = slots_of(model.student)
        assert term.loss(outputs, found, Batch(None, (128, 128), model.student, model._teacher)) > 0


def test_a_box_of_a_class_that_is_not_common_hides_none():
    head = build(faster_rcnn()).roi_head.bbox_head
    rois = torch.tensor([[0, 10, 10, 50, 50], [0, 12, 10, 50, 52]]).float()
    outputs = RoIOutputs(rois, torch.tensor([[0.0, 3.0, 0.0], [2.0, 0.0, 0.0]]), torch.zeros(2, 8))
    every = predictions.of_roi_head(head.bbox_coder, outputs, [(64, 64)])
    assert (every.scores.amax(2) > 0).sum() == 1 and every.scores[0, 0].argmax() == 1
    first = predictions.of_roi_head(head.bbox_coder, outputs, [(64, 64)], classes={0})
    torch.testing.assert_close(first.boxes[0, 0], rois[1, 1:])
    assert first.scores[0, 0].tolist() == pytest.approx([outputs.cls_score[1].softmax(0)[0].item(), 0.0])


def test_the_classes_that_a_teacher_is_asked_for():
    teacher = fcos()
    teacher["bbox_head"]["num_classes"] = 5
    config = distillation(retinanet(), teacher)
    config["distiller"]["losses"]["boxes"]["classes"] = [(1, 3)]
    model = build(config).train()
    assert model.distiller.predicted_classes(0) == {3}
    assert build(distillation(retinanet(), fcos())).distiller.predicted_classes(0) is None
    batch = model.data_preprocessor(raw_batch(), True)
    arguments = (batch["inputs"], batch["data_samples"], model._normalisation, {"predictions"})
    found = model._teacher(*arguments, classes={3})["predictions"].scores
    assert found[..., 3].any() and not found[..., [0, 1, 2, 4]].any()


def test_duplicates_have_no_score():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 40, 2, generator=generator) * 30
    found = torch.cat([corners, corners + 20 + 5 * torch.rand(2, 40, 2, generator=generator)], 2)
    scores = torch.rand(2, 40, 3, generator=generator)
    kept = predictions.without_duplicates(Predictions(found, scores), 40)
    for b in range(2):
        order = scores[b].amax(1).argsort(descending=True).tolist()
        alone = [
            i
            for n, i in enumerate(order)
            if all(iou(found[b, i].tolist(), found[b, j].tolist()) <= DUPLICATE for j in order[:n])
        ]
        assert (kept.scores[b].amax(1) > 0).sum() == len(alone) < 40
        torch.testing.assert_close(kept.boxes[b, : len(alone)], found[b, alone])
        torch.testing.assert_close(kept.scores[b, : len(alone)], scores[b, alone])


def test_what_a_dense_teacher_finds_is_what_it_would_detect():
    """Its best boxes are those of MMDetection's own prediction."""
    model = build(distillation(retinanet(), retinanet()))
    teacher = model._teacher
    batch = model.student.data_preprocessor(raw_batch())
    record = teacher(batch["inputs"], batch["data_samples"], model._normalisation, ("predictions",))
    config = dict(
        nms_pre=1000, min_bbox_size=-1, score_thr=0.0, nms=dict(type="nms", iou_threshold=1.0), max_per_img=10
    )
    metas = [sample.metainfo for sample in batch["data_samples"]]
    from mmengine.config import ConfigDict

    kinds = zip(*record["head"], strict=True)
    own = teacher.dense_head.predict_by_feat(*kinds, batch_img_metas=metas, cfg=ConfigDict(config), rescale=False)
    for b, instances in enumerate(own):
        torch.testing.assert_close(record["predictions"].boxes[b, 0], instances.bboxes[0], atol=1e-3, rtol=1e-4)
        assert record["predictions"].scores[b, 0].max() == pytest.approx(instances.scores[0].item(), abs=1e-5)
    assert record["predictions"].boxes.shape == (2, 85, 4)  # all slots of 64 x 64 pixels


def test_a_cascade_scores_with_all_its_stages():
    model = build(distillation(retinanet(), faster_rcnn(stages=3)))
    teacher = model._teacher
    batch = model.student.data_preprocessor(raw_batch())
    record = teacher(batch["inputs"], batch["data_samples"], model._normalisation, ("predictions",))
    metas = [sample.metainfo for sample in batch["data_samples"]]
    first, *_ = teacher.own_proposals(record["neck"], [meta["img_shape"][:2] for meta in metas], 300)
    counts = first.rois[:, 0].long().bincount(minlength=len(metas)).tolist()
    with torch.no_grad():
        _, logits, _ = teacher.detector.roi_head._refine_roi(record["neck"], first.rois, metas, counts)
    for scores, own in zip(record["predictions"].scores, logits, strict=True):
        found = scores[scores.amax(1) > 0]
        distance = (found[:, None] - own.softmax(1)[:, :-1]).abs().amax(2).amin(1)
        assert len(found) and distance.max() < 1e-5


def test_boxes_are_within_their_image():
    """As MMDetection's: clipped before duplicates are left out, and objects alone have an area."""
    head, _, outputs, slots = slots_of(build(fcos()))
    levels, sizes = source_levels(build(fcos()), "head"), [(64, 64), (20, 30)]
    found = predictions.of_head(head, outputs, levels, sizes)
    for b, (height, width) in enumerate(sizes):
        outside = (slots.boxes[b, :, :2] >= torch.tensor([width, height])).any(1)
        boxes = found.boxes[b][found.scores[b].amax(1) > 0]
        assert outside.any() and len(boxes)
        assert (boxes >= 0).all() and (boxes[:, 0::2] <= width).all() and (boxes[:, 1::2] <= height).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_proposals_belong_to_their_images():
    head = build(faster_rcnn()).roi_head.bbox_head
    rois = torch.tensor([[0, 0, 0, 30, 30], [1, 20, 20, 60, 60], [1, 0, 0, 9, 50]]).float()
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 1.0, 0.0]])
    found = predictions.of_roi_head(head.bbox_coder, RoIOutputs(rois, logits, torch.zeros(3, 8)), [(64, 64)] * 3)
    probabilities = logits.softmax(1)[:, :2]
    torch.testing.assert_close(found.boxes[0, 0], rois[0, 1:])
    torch.testing.assert_close(found.boxes[1, :2], rois[1:, 1:])
    torch.testing.assert_close(found.scores[1, :2], probabilities[1:])
    assert not found.scores[0, 1:].any() and not found.scores[2].any()


def test_boxes_of_queries_are_in_pixels_of_their_image():
    outputs = QueryOutputs(torch.tensor([[[0.0, 1.0]], [[2.0, 0.0]]]), torch.tensor([[[0.5, 0.5, 0.2, 0.4]]] * 2))
    found = predictions.of_queries(outputs, [(100, 50), (10, 20)])
    torch.testing.assert_close(found.boxes[:, 0], torch.tensor([[20.0, 30.0, 30.0, 70.0], [8.0, 3.0, 12.0, 7.0]]))
    torch.testing.assert_close(found.scores[:, 0], outputs.logits[:, 0].sigmoid())


def test_different_classes_are_refused():
    teacher = fcos()
    teacher["bbox_head"]["num_classes"] = 5
    with pytest.raises(ValueError, match=r"the student has 2 classes, the teacher 5: .* classes=\[\(0, 3\)\]"):
        build(distillation(retinanet(), teacher))
    config = distillation(retinanet(), teacher)
    config["distiller"]["losses"]["boxes"]["classes"] = [(0, 5)]
    with pytest.raises(ValueError, match=r"below 2 of the student and below 5 of the teacher, got \(0, 5\)"):
        build(config)
    config["distiller"]["losses"]["boxes"]["classes"] = []
    with pytest.raises(ValueError, match=r"PredictionLoss: classes is empty: leave it out, or name a common class"):
        build(config)


@pytest.mark.parametrize("student", STUDENTS)
def test_common_classes_are_compared_alone(student):
    """The student's second class is the teacher's fourth: scores of the student's first class have no gradient."""
    teacher = fcos()
    teacher["bbox_head"]["num_classes"] = 5
    config = distillation(STUDENTS[student](), teacher)
    config["distiller"]["losses"]["boxes"]["classes"] = [(1, 3)]
    model = build(config).train()
    kept: list[torch.Tensor] = []
    head = model.student.rpn_head if student == "faster" else model.student.bbox_head
    handle = head.register_forward_hook(lambda module, inputs, outputs: kept.extend(outputs[0]))
    losses = losses_of(model)
    handle.remove()
    gradients = torch.autograd.grad(losses["distill.loss_boxes"], kept)
    if student != "faster":
        by_class = [gradient.unflatten(1, (-1, 2)).abs().sum((0, 1, 3, 4)) for gradient in gradients]
        assert sum(by_class)[0] == 0 < sum(by_class)[1]
    assert "1 common classes" in model.level_table


@pytest.mark.parametrize(("classes", "knows_all"), [([(1, 3)], False), ([(0, 2), (1, 3)], True)])
def test_where_a_teacher_finds_nothing_there_may_be_an_object_that_it_does_not_know(classes, knows_all):
    teacher = fcos()
    teacher["bbox_head"]["num_classes"] = 5
    config = distillation(faster_rcnn(), teacher)
    config["distiller"]["losses"]["boxes"]["classes"] = classes
    model = build(config)
    (term,) = model.distiller.all_terms
    outputs = model.student.rpn_head(model.student.extract_feat(torch.zeros(1, 3, 64, 64)))
    outputs = [tuple(part.detach().requires_grad_() for part in level) for level in zip(*outputs, strict=True)]
    batch = Batch(None, (64, 64), model.student, model._teacher)
    for score in (0.0, 0.02):  # the RPN's own scores are about 0.5
        found = Predictions(torch.tensor([[[8.0, 8.0, 40.0, 40.0]]]), torch.full((1, 1, 5), score))
        term.loss(outputs, found, batch).backward()
        assert any(level[0].grad.any() for level in outputs) == knows_all


def test_common_classes_of_proposals():
    """A proposal that the teacher is not sure of may be an object of another class."""
    teacher = fcos()
    teacher["bbox_head"]["num_classes"] = 5
    config = distillation(faster_rcnn(), teacher)
    config["distiller"]["losses"]["boxes"].update(source="roi_head", classes=[(1, 3)])
    model = build(config)
    (term,) = model.distiller.all_terms
    rois = torch.tensor([[0, 2, 6, 38, 44], [0, 60, 60, 64, 64]]).float()
    logits = torch.zeros(2, 3, requires_grad=True)
    scores = torch.zeros(1, 1, 5)
    scores[0, 0, 3] = 0.75
    found = Predictions(torch.tensor([[[4.0, 6.0, 40.0, 44.0]]]), scores)
    batch = Batch(None, (128, 128), model.student, model._teacher)
    term.loss([RoIOutputs(rois, logits, torch.zeros(2, 8))], found, batch).backward()
    # softmax minus the target (0, 0.75, 0.25), times half of their L1 distance and the score, over two proposals
    gradient = (torch.full((3,), 1 / 3) - torch.tensor([0, 0.75, 0.25])) * 5 / 12 * 0.75 / 2
    torch.testing.assert_close(logits.grad, torch.stack([gradient, torch.zeros(3)]))


def test_the_table_names_the_teachers_boxes():
    model = build(distillation(retinanet(), fcos())).train()
    losses_of(model)
    assert any("| predictions | weight 1, the teacher's boxes |" in row for row in model.level_table.splitlines())


def test_a_decoder_learns_each_object_once():
    """It has no NMS: boxes of a teacher with NMS that overlap a better one are left out, those of another DETR stay."""
    found = torch.tensor([[[4.0, 6.0, 40.0, 44.0], [6.0, 8.0, 46.0, 50.0]]])  # their overlap is 0.6
    scores = torch.tensor([[[0.2, 0.8], [0.7, 0.1]]])
    sample, seen = DetDataSample(metainfo=dict(img_shape=(64, 64))), []
    for teacher in (retinanet(), deformable_detr()):
        config = distillation(deformable_detr(layers=1), teacher)
        config["distiller"]["losses"]["boxes"]["source"] = "decoder"
        model = build(config)
        (term,) = model.distiller.all_terms
        outputs = QueryOutputs(torch.zeros(1, 6, 2), torch.full((1, 6, 4), 0.4))
        batch = Batch([sample], (64, 64), model.student, model._teacher)
        term.loss._of_layer = lambda layer, teacher, batch: (
            seen.append(teacher.scores.amax(2)) or Sums(*[torch.ones(())] * len(Sums._fields))
        )
        term.loss([outputs], Predictions(found, scores), batch)
    assert [sorted(one[0].tolist()) for one in seen] == [[0.0, pytest.approx(0.8)], pytest.approx([0.7, 0.8])]


def test_many_boxes_of_an_image():
    """As many as the teacher detects, of each level so many before duplicates are left out."""
    config = retinanet()
    assert predictions.most_boxes(build(config)) == 100
    config["test_cfg"]["max_per_img"] = 250
    assert predictions.most_boxes(build(config)) == 250
    assert predictions.most_boxes(build(faster_rcnn())) == 100
    head, reader, outputs, slots = slots_of(build(retinanet()))
    levels = source_levels(build(retinanet()), "head")
    found = predictions.of_head(head, outputs, levels, [(10_000, 10_000)] * 2, 20)
    every = Predictions(slots.boxes, reader.scores(slots))
    by_hand = predictions.without_duplicates(every, 20)
    assert found.boxes.shape == (2, 20, 4)
    torch.testing.assert_close(found.scores[:, 0], by_hand.scores[:, 0])


def test_points_of_some_levels_alone():
    config = distillation(fcos(), retinanet())
    config["distiller"]["losses"]["boxes"]["strides"] = (16, 64)
    model = build(config).train()
    losses = losses_of(model)
    assert losses["distill.loss_boxes"] > 0
    step(model, losses)
