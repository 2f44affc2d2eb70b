"""The queries of DETR's family: decoded again, shared with a student, compared one by one."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from mmengine.registry import init_default_scope

from pcka_mmdet.models.losses.level_loss import Batch
from pcka_mmdet.models.queries import DecoderInputs, QueryOutputs, general_queries, maps_of_memory
from pcka_mmdet.models.teacher.predictions import scores_of_head, scores_of_queries
from pcka_mmdet.models.teacher.teacher import Teacher
from tests import detectors
from tests.detectors import build, losses_of, raw_batch, retinanet, rtmdet, step, yolox
from tests.detr import KINDS, dab_detr, deformable_detr, dino

QUERIES = dict(type="pcka_mmdet.QueryLoss", general=3)
MEMORY = dict(type="pcka_mmdet.MimicLoss", source="memory", by_scores=True)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmdet")


def distillation(student: dict, teacher: dict, **options) -> dict:
    losses = options.pop("losses", dict(queries=QUERIES, memory=MEMORY))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    return detectors.distillation(architecture=student, teacher=teacher, distiller=distiller, **options)


def forward_transformer(detector, batch: dict):
    """Class logits and boxes of a detector's own queries, and the kept inputs of its decoder."""
    inputs = DecoderInputs(detector)
    inputs.keeps = True
    batch = detector.data_preprocessor(copy.deepcopy(batch))
    states = detector.forward_transformer(detector.extract_feat(batch["inputs"]), batch["data_samples"])
    return detector.bbox_head.forward(**states), inputs


@pytest.mark.parametrize("kind", KINDS)
def test_a_detectors_own_queries_decode_to_its_own_outputs(kind):
    detector = build(KINDS[kind]()).eval()
    outputs, inputs = forward_transformer(detector, raw_batch((64, 48), (40, 64)))
    for decoded, own in zip(inputs.decode(inputs.queries), outputs, strict=True):
        torch.testing.assert_close(decoded, own)


def test_decoding_again_equals_queries_that_a_mask_separates():
    detector = build(dino()).eval()
    _, inputs = forward_transformer(detector, raw_batch())
    own, others = inputs.queries, {name: value.flip(0).roll(1, 2) for name, value in inputs.queries.items()}
    count = own["query"].shape[1]
    mask = torch.ones(2 * count, 2 * count, dtype=torch.bool)
    mask[:count, :count] = mask[count:, count:] = False
    both = {name: torch.cat([own[name], others[name]], 1) for name in own}
    states, references = detector.decoder(**{**inputs.inputs, **both, "self_attn_mask": mask})
    joined = detector.bbox_head.forward(states, list(references))
    for decoded, together in zip(inputs.decode(others), joined, strict=True):
        torch.testing.assert_close(decoded, together[:, :, count:])


@pytest.mark.parametrize("kind", KINDS)
def test_general_queries_are_anywhere_in_the_image(kind):
    detector = build(KINDS[kind]()).eval()
    (logits, _), inputs = forward_transformer(detector, raw_batch())
    drawn = general_queries(inputs.queries, 400)
    assert drawn.keys() == inputs.queries.keys()
    places = drawn["reference_points"] if "reference_points" in drawn else drawn["query_pos"].sigmoid()
    assert places.shape[:2] == (2, 400) and 0 <= places.min() < 0.05 and 0.95 < places.max() <= 1
    assert inputs.decode(drawn)[0].shape == (len(logits), 2, 400, logits.shape[-1])


def test_memory_as_maps():
    maps = [torch.zeros(2, 5, 3, 4), torch.zeros(2, 5, 2, 1)]
    memory = torch.randn(2, 14, 7)
    first, second = maps_of_memory(memory, maps)
    assert first.shape == (2, 7, 3, 4) and second.shape == (2, 7, 2, 1)
    assert torch.equal(first[1, :, 2, 3], memory[1, 11]) and torch.equal(second[0, :, 1, 0], memory[0, 13])


WIDER = dict(
    dino=dict(layers=3), two_stages=dict(layers=1), deformable=dict(channels=24, layers=3), dab=dict(channels=24)
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("balance", [None, dict(ratio=0.5)], ids=["constant", "balanced"])
def test_every_kind_takes_a_step(kind, balance):
    model = build(distillation(KINDS[kind](), KINDS[kind](**WIDER[kind]), balance=balance)).train()
    losses = losses_of(model)
    distilled = {key: value for key, value in losses.items() if key.startswith("distill.loss")}
    assert distilled["distill.loss_queries"] > 0 and len(distilled) == (4 if kind != "dab" else 2)
    gradients = torch.autograd.grad(
        losses["distill.loss_queries"], model.student.decoder.parameters(), retain_graph=True, allow_unused=True
    )
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    step(model, losses)
    assert set(losses_of(model)) == set(losses)


def test_equal_detectors_agree():
    model = build(distillation(deformable_detr(), deformable_detr(), losses=dict(queries=dict(QUERIES, general=4))))
    for other, own in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
        other.data.copy_(own.data)
    for module in model.student.modules():  # its losses need a detector in training mode
        if isinstance(module, (torch.nn.Dropout, torch.nn.modules.batchnorm._BatchNorm)):
            module.eval()
    losses = losses_of(model)
    assert losses["distill.loss_queries"].item() == pytest.approx(0, abs=1e-3)
    assert losses["similarity.queries"].item() == pytest.approx(1, abs=1e-3)


def test_the_loss_is_that_of_a_loop_over_queries():
    """Against float64, query by query and layer by layer, from the last one on."""
    model = build(
        distillation(deformable_detr(), deformable_detr(layers=3), losses=dict(queries=dict(QUERIES, general=0)))
    )
    (term,) = model.distiller.all_terms

    def side(layers: int) -> list[QueryOutputs]:
        return [QueryOutputs(torch.randn(2, 4, 2), torch.rand(2, 4, 4) * 0.4 + 0.1) for _ in range(layers)]

    student, teacher = side(2), side(3)
    record = dict(queries=student)
    found = term.loss(term.of_student(record), term.of_teacher(dict(queries=teacher)), batch_of(model, (60, 40)))
    classes, boxes, weights = torch.zeros(3, 2).double()  # by class
    for of_student, of_teacher in ((student[1], teacher[2]), (student[0], teacher[1])):
        for b in range(2):
            for n in range(4):
                target = of_teacher.logits[b, n].double().sigmoid()
                logits = of_student.logits[b, n].double()
                entropy = -(target * logits.sigmoid().log() + (1 - target) * (1 - logits.sigmoid()).log())
                classes += (logits.sigmoid() - target).abs() * entropy
                boxes += 2 * (1 - giou(of_student.boxes[b, n].tolist(), of_teacher.boxes[b, n].tolist())) * target**2
                weights += target**2
    factors = (weights.mean() / weights).sqrt()
    assert found.item() == pytest.approx((factors @ (classes + boxes) / (factors @ weights)).item(), rel=1e-4)


def batch_of(model, image_size):
    return Batch(None, image_size, model.student, model._teacher)


def giou(first: list[float], second: list[float]) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = first, second
    low, high = (
        (max(ax - aw / 2, bx - bw / 2), max(ay - ah / 2, by - bh / 2)),
        (min(ax + aw / 2, bx + bw / 2), min(ay + ah / 2, by + bh / 2)),
    )
    common = max(high[0] - low[0], 0) * max(high[1] - low[1], 0)
    hull = (max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)) * (
        max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    )
    union = aw * ah + bw * bh - common
    return common / union - (hull - union) / hull


def test_the_balance_scales_the_gradient_at_the_outputs():
    model = build(
        distillation(deformable_detr(), deformable_detr(), losses=dict(queries=QUERIES), balance=dict(ratio=0.5))
    )
    model.train()
    kept: list[torch.Tensor] = []
    handle = model.student.bbox_head.register_forward_hook(
        lambda module, inputs, outputs: kept.extend(outputs), prepend=True
    )
    losses = losses_of(model)
    handle.remove()
    for output in kept:
        output.retain_grad()
    model.parse_losses(losses)[0].backward()
    balance = model.distiller.balances["queries"]
    task, group, cosine, _ = (balance.averages[0] / 0.02).tolist()  # one step of a momentum of 0.98
    norm = math.sqrt(sum(output.grad.square().sum().item() for output in kept))
    assert norm == pytest.approx(task, rel=1e-4) and cosine == 0 and group > 0


def losses_with_the_same_task(alone, distilled) -> dict:
    """Losses of a distillation, whose task's are those of the student alone to the bit."""
    batch = raw_batch()
    torch.manual_seed(1)  # MMDetection's deformable attention has a dropout
    expected = alone(**alone.data_preprocessor(copy.deepcopy(batch), True), mode="loss")
    state = torch.get_rng_state()
    torch.manual_seed(1)
    found = distilled(**distilled.data_preprocessor(batch, True), mode="loss")
    assert torch.equal(torch.get_rng_state(), state)  # so that the next step is the same too
    assert all(torch.equal(found[f"student.{name}"], value) for name, value in expected.items())
    return found


def test_a_pause_leaves_the_students_training_to_the_bit():
    config = deformable_detr()
    alone, distilled = build(config).train(), build(distillation(config, deformable_detr(channels=24))).train()
    distilled.distillation_stopped = True
    found = losses_with_the_same_task(alone, distilled)
    assert found["distill.loss_queries"] == 0
    found["distill.loss_queries"].backward()


def test_the_students_task_is_as_without_a_teacher():
    config = deformable_detr()
    alone = build(config).train()
    distilled = build(distillation(config, deformable_detr(channels=24), balance=dict(ratio=1.0))).train()
    losses_with_the_same_task(alone, distilled)


def test_two_teachers_have_their_own_queries():
    config = distillation(deformable_detr(), None, losses=dict(queries=QUERIES))
    del config["teacher"], config["teacher_ckpt"]
    config["teachers"] = [
        dict(deformable_detr(channels=24), ckpt="random"),
        dict(deformable_detr(layers=1), ckpt="random"),
    ]
    model = build(config | dict(balance=dict(ratio=1.0))).train()
    assert {term.student_key for term in model.distiller.all_terms} == {"queries/all", "queries_1/all"}
    losses = losses_of(model)
    assert losses["distill.loss_queries"] > 0 and losses["distill.loss_queries_2"] > 0
    step(model, losses)


def test_values_that_are_not_finite_while_a_teacher_of_queries_pauses():
    """The record has none of its queries."""
    losses = dict(queries=QUERIES, maps=dict(type="pcka_mmdet.MimicLoss"))
    model = build(distillation(deformable_detr(), deformable_detr(channels=24), losses=losses)).train()
    model.distiller.terms["queries"][0].loss.loss_weight = 0.0
    model._teachers[0].detector.neck.convs[0].conv.weight.data.fill_(torch.nan)
    loss, _ = model.parse_losses(losses_of(model))
    with pytest.raises(FloatingPointError, match=r"loss_maps_s8. NaN or .* the teacher's map at stride 8"):
        loss.backward()


def test_a_copy_of_the_model_decodes_by_its_own_decoder():
    model = build(distillation(deformable_detr(), deformable_detr(channels=24), losses=dict(queries=QUERIES))).train()
    other = copy.deepcopy(model)
    for parameter in other.student.decoder.parameters():
        parameter.data.zero_()
    assert other.distiller.recorder._decoder.detector is other.student
    torch.manual_seed(1)
    first = losses_of(model)["distill.loss_queries"]
    torch.manual_seed(1)
    assert losses_of(other)["distill.loss_queries"] != first


def test_queries_of_labelled_images_alone():
    model = build(distillation(deformable_detr(), deformable_detr(channels=24))).train()
    batch = raw_batch((64, 64), (64, 64), (64, 64))
    batch["data_samples"][1].set_metainfo(dict(unlabelled=True))
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    assert all(torch.isfinite(value).all() for key, value in losses.items() if "loss" in key and torch.is_tensor(value))


def test_the_teacher_sees_images_and_no_padding():
    """Its outputs for an image do not depend on how much the batch pads it."""
    teacher = Teacher(build(deformable_detr()), "random")
    detector = teacher.detector
    alone = detector.data_preprocessor(raw_batch((64, 64)))
    (own,), _ = teacher.queries(detector.extract_feat(alone["inputs"]), alone["data_samples"])[0]["queries"][-1:], None
    padded = torch.nn.functional.pad(alone["inputs"], (0, 64, 0, 32))
    alone["data_samples"][0].set_metainfo(dict(batch_input_shape=(96, 128)))
    record, _ = teacher.queries(list(detector.extract_feat(padded)), alone["data_samples"])
    # maps of convolutions see the border: near, not equal
    torch.testing.assert_close(record["queries"][-1].boxes, own.boxes, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (retinanet(), deformable_detr(), "RetinaNet is no DETR"),
        (deformable_detr(), retinanet(), "RetinaNet is no DETR"),
        (deformable_detr(), dab_detr(), "queries of a DABDETR mean nothing to a DeformableDETR"),
    ],
)
def test_other_families_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        build(distillation(student, teacher, losses=dict(queries=QUERIES)))


def test_other_classes_are_refused():
    teacher = deformable_detr()
    teacher["bbox_head"]["num_classes"] = 5
    with pytest.raises(ValueError, match=r"the heads score 2 and 5 classes"):
        build(distillation(deformable_detr(), teacher, losses=dict(queries=QUERIES)))


def test_queries_are_connected_once():
    losses = dict(queries=QUERIES, more=dict(QUERIES, general=3))
    with pytest.raises(ValueError, match=r"^losses.more: another loss reads the teacher's queries too: leave one out$"):
        build(distillation(deformable_detr(), deformable_detr(), losses=losses))


def test_the_table_pairs_layers_from_the_last_one():
    model = build(distillation(deformable_detr(), deformable_detr(layers=3), losses=dict(queries=QUERIES))).train()
    losses_of(model)
    rows = model.level_table.splitlines()
    assert any("queries -1, 16 channels" in row and "3 general ones" in row for row in rows)
    assert any(row.startswith("| layer-3") and "no partner" in row for row in rows)


def test_scores_at_the_positions_of_a_head():
    for kind, quality in ((retinanet, False), (rtmdet, False), (yolox, True)):
        head = build(kind()).bbox_head
        outputs = [[torch.randn(2, 2, 4, 3), torch.randn(2, 4, 4, 3), *([torch.randn(2, 1, 4, 3)] if quality else [])]]
        (scores,) = scores_of_head(head, outputs)
        wanted = outputs[0][0][1, :, 2, 1].max().sigmoid() * (outputs[0][2][1, 0, 2, 1].sigmoid() if quality else 1)
        assert scores.shape == (2, 1, 4, 3) and torch.isclose(scores[1, 0, 2, 1], wanted)


def test_general_queries_find_nothing():
    losses = dict(queries=QUERIES, boxes=dict(type="pcka_mmdet.PredictionLoss", source="decoder"))
    model = build(distillation(deformable_detr(), deformable_detr(), losses=losses))
    batch = model.student.data_preprocessor(raw_batch())
    inputs = batch["inputs"], batch["data_samples"], model._normalisation, ("queries", "predictions", "scores")
    without, with_general = (model._teacher(*inputs, general=number) for number in (0, 50))
    assert with_general["queries"][-1].logits.shape[1] == without["queries"][-1].logits.shape[1] + 50
    torch.testing.assert_close(with_general["predictions"], without["predictions"])
    torch.testing.assert_close(with_general["scores"], without["scores"])


def test_scores_at_the_positions_of_boxes():
    logits = torch.tensor([[[2.0, -9.0], [-9.0, 0.0]]])
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0], [0.5, 0.25, 1.0, 0.5]]])  # the left half, the upper half
    (scores,) = scores_of_queries(QueryOutputs(logits, boxes), [torch.zeros(1, 8, 2, 4)])
    sure, half = torch.tensor(2.0).sigmoid().item(), 0.5
    torch.testing.assert_close(scores[0, 0], torch.tensor([[sure, sure, half, half], [sure, sure, 0, 0]]))


def test_mimic_by_scores_weighs_positions():
    model = build(distillation(deformable_detr(), deformable_detr(), losses=dict(memory=MEMORY)))
    loss = model.distiller.losses["memory_s8"]
    student, teacher, scores = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4), torch.rand(2, 1, 4, 4)
    batch = replace(batch_of(model, (32, 32)), teacher_scores=[scores])
    connected = loss.connector(student)
    wanted = (
        sum(
            scores[b, 0, y, x].double() * (connected - teacher)[b, :, y, x].double().square().mean()
            for b in range(2)
            for y in range(4)
            for x in range(4)
        )
        / scores.double().sum()
    )
    assert loss(student, teacher, batch).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_a_map_of_the_backbone_has_the_scores_of_the_nearest_size():
    losses = dict(maps=dict(type="pcka_mmdet.MimicLoss", source="backbone", by_scores=True))
    model = build(distillation(retinanet(), retinanet(), losses=losses))
    scores = [torch.rand(2, 1, side, side) for side in (8, 4, 2, 1, 1)]  # of strides 8 to 128
    for stride, side, of_level in (("s4", 16, 0), ("s8", 8, 0), ("s16", 4, 1), ("s32", 2, 2)):
        loss = model.distiller.losses[f"maps_{stride}"]
        assert loss._of_level(scores, side) is scores[of_level]
    loss.teacher_level = 4
    assert loss._of_level(scores, 1) is scores[4]


@pytest.mark.parametrize("kind", [retinanet, deformable_detr])
def test_scores_by_a_softmax_are_refused(kind):
    losses, teacher = dict(maps=dict(type="pcka_mmdet.MimicLoss", by_scores=True)), kind()
    teacher["bbox_head"]["loss_cls"] = dict(type="CrossEntropyLoss", use_sigmoid=False)
    with pytest.raises(ValueError, match=r"MimicLoss: .* softmax: leave by_scores out"):
        build(distillation(retinanet(), teacher, losses=losses))
