"""HeadLoss and OwnHeadLoss, for each kind of head."""

import copy
import itertools

import pytest
import torch

from pcka_mmdet.models import FPNDistill, attempts
from pcka_mmdet.models.distillers.fpn_distiller import TeacherStep
from pcka_mmdet.models.heads import reader_of
from pcka_mmdet.models.losses.head_loss import HeadLoss, Sums, class_factors, compare_levels
from pcka_mmdet.models.losses.head_loss import compare as compare_outputs
from pcka_mmdet.models.losses.level_loss import Batch
from pcka_mmdet.models.teacher.teacher import Teacher
from tests.boxes import box_difference, corners
from tests.detectors import (
    atss,
    build,
    check_gradients,
    faster_rcnn,
    fcos,
    gfl,
    maps,
    raw_batch,
    reppoints,
    retinanet,
    rtmdet,
    step,
    yolox,
)

HEADS = {
    "retinanet": retinanet,
    "fcos": fcos,
    "atss": atss,
    "gfl": gfl,
    "reppoints": reppoints,
    "rtmdet": rtmdet,
    "yolox": yolox,
    "faster r-cnn": faster_rcnn,
}


def distilled(teacher: dict, student: dict | None = None, **options) -> FPNDistill:
    losses = dict(head=dict(type="pcka_mmdet.HeadLoss", **options))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    torch.manual_seed(0)
    return FPNDistill(student or retinanet(channels=24), copy.deepcopy(teacher), distiller, "random")


def compare(model: FPNDistill, student: list[torch.Tensor], teacher: list[torch.Tensor]) -> torch.Tensor:
    """The loss between two sets of neck maps."""
    record = dict(head=model._teacher.head(teacher))
    batch = Batch(None, (128, 128), model.student, model._teacher, teacher_outputs=record["head"])
    return model.distiller.compute_distill_losses(dict(neck=student), [TeacherStep(record, batch)])["loss_head"]


@pytest.mark.parametrize("teacher", HEADS)
def test_a_step_with_a_gradient_at_every_level_and_none_for_the_teacher(teacher):
    model = distilled(HEADS[teacher]())
    step(model, check_gradients(model, raw_batch((64, 64), (64, 96))))
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert sorted(model.distiller.losses["head"].connectors) == ["s16", "s32", "s64", "s8"]


def test_an_rtmdet_whose_raw_distances_are_negative():
    """RTMDet-tiny and -s: as random weights give them, or a teacher where it sees nothing."""
    model = distilled(rtmdet(exp_on_reg=False), student=retinanet())
    loss = compare(model, maps(1), maps(0))
    assert 0 < loss < 50


@pytest.mark.parametrize("teacher", HEADS)
def test_the_teachers_own_maps_are_where_it_is_smallest(teacher):
    """Classes weigh nothing there, boxes agree, and what is left of a quality is its entropy: no gradient."""
    model = distilled(HEADS[teacher](), student=retinanet())
    student_maps = [m.requires_grad_() for m in maps(0)]
    loss = compare(model, student_maps, maps(0))
    for gradient in torch.autograd.grad(loss, student_maps):
        assert gradient.abs().max() < 1e-5
    if teacher not in ("fcos", "atss"):
        torch.testing.assert_close(loss, torch.zeros(()), rtol=0, atol=1e-5)
    assert compare(model, maps(1), maps(0)) > loss


def bce(p, q):
    return -(q * p.log() + (1 - q) * (1 - p).log())


def reference(kind: str, student: list, teacher: list, stride: int, trained: bool = False, coder: tuple = ()) -> Sums:
    """`Sums` over a level, position by position, from raw outputs of one image in float64.

    `trained`: the first outputs are those of a head in training mode.
    """
    classes = 1 if kind == "faster r-cnn" else 2  # the RPN's: an object
    anchors = teacher[0].shape[0] // classes
    by_class, of_all = torch.zeros(3, classes).double(), torch.zeros(2).double()
    for y, x, a in itertools.product(range(student[0].shape[1]), range(student[0].shape[2]), range(anchors)):
        p, q = (side[0][a * classes : (a + 1) * classes, y, x].sigmoid() for side in (student, teacher))
        codes = student[1].shape[0] // anchors
        b, c = (side[1][a * codes : (a + 1) * codes, y, x] for side in (student, teacher))
        scores, weight = q, (p - q).abs()
        if kind in ("fcos", "rtmdet"):  # distances in pixels, but in training FCOS gives strides
            b, c = (b * stride if trained and kind == "fcos" else b), c
            b, c = (torch.stack([-d[0], -d[1], d[2], d[3]]) for d in (b, c))
        elif kind in (
            "retinanet",
            "atss",
            "faster r-cnn",
        ):  # deltas of an anchor: any one, for IoU does not depend on it
            means, stds = (torch.tensor(values).double() for values in coder)
            b, c = (corners(torch.tensor([100.0, 50.0, 40.0, 80.0]), d * stds + means) for d in (b, c))
        elif kind == "yolox":
            b, c = (corners(torch.tensor([0.0, 0.0, 1.0, 1.0]), d) for d in (b, c))
        if kind == "gfl":
            b, c = (side.reshape(4, -1).softmax(1) for side in (b, c))
            box = (c * (c.log() - b.log())).sum()
        else:
            in_pixels = kind in ("fcos", "rtmdet")
            box = box_difference(b, c, unit=stride if in_pixels else 1)
        if kind in ("fcos", "atss", "yolox"):
            u, v = (side[2][a, y, x].sigmoid() for side in (student, teacher))
            if kind == "yolox":
                scores, weight = scores * v, weight * v
                by_class[0] += (u - v).abs() * bce(u, v) / classes
            else:
                box += bce(u, v)
        by_class += torch.stack([weight * bce(p, q), scores**2 * box, scores**2])
        of_all += torch.stack([weight.sum(), ((p + q) * (v if kind == "yolox" else 1)).sum()])
    return Sums(*by_class, *of_all)


def two_anchors() -> dict:
    config = retinanet()
    config["bbox_head"]["anchor_generator"].update(ratios=[0.5, 2.0])
    return config


@pytest.mark.parametrize("kind, trained", [(kind, False) for kind in (*HEADS, "two anchors")] + [("fcos", True)])
def test_equals_the_formula_written_as_loops(kind, trained):
    config = {**HEADS, "two anchors": two_anchors}[kind]()
    model = distilled(config, student=retinanet(), loss_weight=2.0, box_weight=0.5)
    head = model._teacher.dense_head
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    if kind == "fcos":
        head.norm_on_bbox = True
    level, stride = (torch.randn(1, 16, 3, 4, generator=torch.Generator().manual_seed(i)) for i in (1, 0)), 8
    level = list(level)
    with torch.no_grad():
        raw = [
            [side[0] for side in head([m, *[torch.zeros(1, 16, 2, 2)] * 3]) if isinstance(side, list | tuple)]
            for m in level
        ]
        if trained:
            raw[0] = [side[0] for side in head.train()([level[0], *[torch.zeros(1, 16, 2, 2)] * 3])]
    reader = reader_of(head)
    student_outputs = reader.read(raw[0], stride)
    head.eval()
    actual = compare_outputs(reader, student_outputs, reader.read(raw[1], stride))
    name = "retinanet" if kind == "two anchors" else kind
    coder = (head.bbox_coder.means, head.bbox_coder.stds) if name in ("retinanet", "atss", "faster r-cnn") else ()
    raw = [[side[0].double() for side in outputs] for outputs in raw]
    expected = reference(name, *raw, stride, trained, coder)
    for value, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=0)


def test_the_levels_are_summed_and_weighted():
    model = distilled(retinanet(), student=retinanet(), loss_weight=2.0, box_weight=0.5)
    head, student, teacher = model._teacher.dense_head, maps(1), maps(0)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    reader, levels = reader_of(head), []
    for level, outputs in enumerate(zip(model._teacher.head(student), model._teacher.head(teacher), strict=True)):
        levels.append(compare_outputs(reader, *(reader.read(o, 8 * 2**level) for o in outputs)))
    sums = Sums(*(sum(values) for values in zip(*levels, strict=True)))
    assert sums.weights.min() > 1
    factors = (sums.weights.mean() / sums.weights).sqrt()
    classes, boxes, weights = (values @ factors for values in sums[:3])
    expected = 2.0 * (classes + 0.5 * boxes) / weights
    torch.testing.assert_close(compare(model, student, teacher), expected)
    (loss,) = model.distiller.losses.values()
    torch.testing.assert_close(loss.metrics(), {"similarity.head": 1 - sums.differences / sums.largest_differences})
    compare(model, teacher, teacher)
    torch.testing.assert_close(loss.metrics()["similarity.head"], torch.ones(()))


def test_a_rare_class_counts_for_more_than_its_share():
    """By the root of the mean over its sum; a class that the teacher hardly sees has 1, and no part in the mean."""
    factors = class_factors(torch.tensor([400.0, 25.0, 0.5, 0.0, 325.0]))
    torch.testing.assert_close(factors, torch.tensor([250 / 400, 10, 1, 1, 250 / 325]).sqrt())
    torch.testing.assert_close(class_factors(torch.tensor([3.0, 3.0])), torch.ones(2))
    torch.testing.assert_close(class_factors(torch.zeros(2)), torch.ones(2))
    assert class_factors(torch.tensor(7.0)) == 1  # one sum of all classes


def test_a_teacher_that_sees_nothing_does_not_blow_the_loss_up():
    """The sums are then divided by 1, not by the sum of its scores."""
    model = distilled(retinanet(), student=retinanet())
    head = model.teacher.bbox_head
    torch.nn.init.constant_(head.retina_cls.bias, -14.0)
    teacher, student = ([tuple(out) for out in zip(*head(maps(seed)))] for seed in (0, 1))
    reader, sums = reader_of(head), []
    for stride, student_level, teacher_level in zip((8, 16, 32, 64), student, teacher, strict=True):
        outputs = [reader.read([m.detach() for m in level], stride) for level in (student_level, teacher_level)]
        sums.append(compare_outputs(reader, *outputs))
    assert sum(level.weights.sum() for level in sums) < 0.1
    expected = sum((level.classes + level.boxes).sum() for level in sums)
    torch.testing.assert_close(compare(model, maps(1), maps(0)).detach(), expected, rtol=1e-4, atol=0)


def test_a_share_of_the_images():
    """Rounded up: the loss is that of a batch of these; the rest gets no gradient."""
    whole = distilled(retinanet(), student=retinanet())
    for share, count in ((0.2, 1), (0.5, 1), (0.6, 2), (1.0, 2)):
        part = distilled(retinanet(), student=retinanet(), images=share)
        student_maps, teacher = [m.requires_grad_() for m in maps(1)], maps(0)
        loss = compare(part, student_maps, teacher)
        first_images = compare(whole, [m[:count].detach() for m in student_maps], [m[:count] for m in teacher])
        torch.testing.assert_close(loss, first_images)
        for gradient in torch.autograd.grad(loss, student_maps):
            assert gradient[0].any() and bool(gradient[1].any()) == (count == 2)
    assert "the teacher's head on 20% of the images" in distilled(retinanet(), images=0.2).distiller.losses[
        "head"
    ].describe(())


def test_the_compared_images_are_spread_over_the_batch():
    """Labelled images are its first ones."""
    images = torch.arange(8)
    for share, chosen in ((0.25, [0, 4]), (0.5, [0, 2, 4, 6]), (0.6, [0, 1, 3, 4, 6]), (1.0, list(range(8)))):
        assert HeadLoss(images=share)._chosen(images).tolist() == chosen


@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_of_the_images_out_of_its_range(share):
    with pytest.raises(ValueError, match=f"images is above 0 and at most 1, got {share}: write 0.5 for half"):
        distilled(retinanet(), images=share)


def test_levels_that_the_student_lacks_are_left_out():
    """FCOS has a scale for each level: the common levels keep it."""
    model = distilled(fcos(), student=retinanet(start_level=2))
    assert [pair.stride for pair in model.distiller.terms["head"][0].pairs] == [16, 32, 64]
    for index, scale in enumerate(model.teacher.bbox_head.scales):
        scale.scale.data.fill_(1.0 + index)
    teacher = maps(0)
    whole, partial = model._teacher.head(teacher), model._teacher.head([None, *teacher[1:]])
    assert partial[0] is None
    for whole_level, partial_level in zip(whole[1:], partial[1:], strict=True):
        for a, b in zip(whole_level, partial_level, strict=True):
            torch.testing.assert_close(a, b)
    student_maps = [m.requires_grad_() for m in (*maps(0)[1:], torch.zeros(2, 16, 1, 1))]
    gradients = torch.autograd.grad(compare(model, student_maps, teacher), student_maps[:3])
    assert all(gradient.abs().max() < 1e-5 for gradient in gradients)


def test_the_wrong_number_of_maps():
    with pytest.raises(ValueError, match="the head of RetinaNet takes 4 maps, one a level, got 3: give None"):
        distilled(retinanet())._teacher.head(maps(0)[1:])


def test_a_wild_code_of_a_yolox_in_the_background():
    """Its area would be infinite, and infinity times a score of nearly 0 is NaN."""
    reader = reader_of(build(yolox()).bbox_head)
    level = [torch.zeros(1, 2, 4, 4) - 16, torch.zeros(1, 4, 4, 4), torch.zeros(1, 1, 4, 4)]
    wild = [level[0], level[1].clone(), level[2]]
    wild[1][0, 2:, 1, 1] = 60
    values = compare_outputs(reader, *(reader.read(one, 8) for one in (wild, level)))
    assert all(torch.isfinite(value).all() for value in values)


@pytest.mark.parametrize("kind, head", [("FCOS", fcos), ("RTMDetHead", rtmdet)])
def test_a_wild_code_of_distances(kind, head):
    reader = reader_of(build(head()).bbox_head.eval())
    level = [torch.zeros(1, 2, 4, 4) - 16, torch.ones(1, 4, 4, 4), torch.zeros(1, 1, 4, 4)]
    wild = [level[0], level[1].clone(), level[2]]
    wild[1][0, :, 1, 1] = 1e25
    wild[1].requires_grad_()
    outputs = (reader.read(one[: 3 if kind == "FCOS" else 2], 8) for one in (wild, level))
    total = sum(values.sum() for values in compare_outputs(reader, *outputs))
    assert torch.isfinite(total) and torch.isfinite(torch.autograd.grad(total, wild[1])[0]).all()


def test_a_row_or_column_that_only_one_side_has_is_left_out():
    """HRFPN rounds the sides of its coarse levels down."""
    model = distilled(retinanet())
    student, teacher = (model._teacher.head(maps(seed)) for seed in (1, 0))
    options = [model._teacher.dense_head] * 2, model.distiller.losses["head"].pairs

    def cut(outputs, rows, columns):
        return [[output[:, :, :rows, :columns] for output in outputs[0]], *outputs[1:]]

    expected = compare_levels(cut(student, 15, 15), cut(teacher, 15, 15), *options)
    torch.testing.assert_close(compare_levels(cut(student, 15, 16), cut(teacher, 16, 15), *options), expected)


def test_maps_of_other_sizes_than_the_teachers():
    first, *rest = maps(1, channels=24)
    sizes = r"at stride 8 the student's head gives outputs at \(14, 16\) positions, the teacher's at \(16, 16\)"
    with pytest.raises(ValueError, match=sizes):
        compare(distilled(retinanet()), [first[:, :, :14], *rest], maps(0))


def test_a_head_of_deformable_convolutions():
    """They refuse maps smaller than their kernel."""
    teacher = atss()
    teacher["bbox_head"]["conv_cfg"] = dict(type="DCN")
    model = distilled(teacher, student=retinanet(start_level=2))
    levels = [torch.randn(2, 16, side, side) for side in (32, 16, 8, 4)]
    assert torch.isfinite(compare(model, [*levels[1:], levels[3]], levels))


def test_a_head_in_bfloat16():
    losses = dict(head=dict(type="pcka_mmdet.HeadLoss"))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    exact, reduced = (
        FPNDistill(retinanet(), retinanet(), copy.deepcopy(distiller), "random", teacher_precision=precision)
        for precision in ("fp32", "bf16")
    )
    reduced.teacher.load_state_dict(exact.teacher.state_dict())
    student, teacher = maps(1), maps(2)
    outputs = reduced._teacher.head(teacher)
    with torch.autocast("cpu", torch.bfloat16):
        expected = reduced.teacher.bbox_head([*teacher, torch.zeros(2, 16, 4, 4)])
    assert all(torch.equal(level[0], of_level.float()) for level, of_level in zip(outputs, expected[0], strict=False))
    gradients = []
    for model in (exact, reduced):
        student_maps = [m.clone().requires_grad_() for m in student]
        value = compare(model, student_maps, teacher)
        value.backward()
        gradients.append([value.detach(), *(m.grad for m in student_maps)])
    for in_float32, in_bfloat16 in zip(*gradients, strict=True):
        assert in_bfloat16.dtype == torch.float32 and not torch.equal(in_float32, in_bfloat16)
        assert (in_float32 - in_bfloat16).norm() < 0.05 * in_float32.norm()


def test_a_head_whose_operators_have_no_bfloat16(monkeypatch):
    messages = []
    monkeypatch.setattr("pcka_mmdet.models.teacher.heads.warn", messages.append)
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=dict(head=dict(type="pcka_mmdet.HeadLoss")))
    teacher = atss()
    teacher["bbox_head"]["conv_cfg"] = dict(type="DCN")
    model = FPNDistill(retinanet(start_level=2), teacher, distiller, "random", teacher_precision="bf16")
    assert [text.split(" (")[0] for text in messages] == ["the teacher's head runs in fp32: torch.bfloat16 fails"]
    levels = [torch.randn(2, 16, side, side) for side in (32, 16, 8, 4)]
    assert torch.isfinite(compare(model, [*levels[1:], levels[3]], levels))
    assert len(messages) == 1


@pytest.mark.parametrize("supported", [False, True])
def test_the_first_process_decides_whether_a_head_runs_in_bfloat16(monkeypatch, supported):
    teacher = Teacher(build(retinanet()), "random", precision="bf16")
    monkeypatch.setattr(attempts, "is_main_process", lambda: False)
    monkeypatch.setattr(attempts, "broadcast_object_list", lambda result: result.__setitem__(0, supported))
    outputs = []
    teacher.dense_head.register_forward_hook(lambda module, inputs, kinds: outputs.append(kinds[0][0]))
    teacher.head(maps(0))
    assert [output.dtype for output in outputs] == [torch.bfloat16 if supported else torch.float32]


def test_a_head_without_a_reader_is_refused_when_the_model_is_built():
    softmax = retinanet()
    softmax["bbox_head"]["loss_cls"] = dict(type="CrossEntropyLoss", use_sigmoid=False)
    message = "class scores must be by a sigmoid, and this RetinaHead has a softmax: use a loss on .*PCKALoss"
    for build_pair in (lambda: distilled(softmax), lambda: own_head(retinanet(), softmax)):
        with pytest.raises(ValueError, match=message):
            build_pair()


def test_a_head_that_was_not_loaded_is_refused(tmp_path):
    weights = build(retinanet()).state_dict()
    torch.save(dict(state_dict={k: v for k, v in weights.items() if "retina_cls" not in k}), tmp_path / "teacher.pth")
    losses = dict(head=dict(type="pcka_mmdet.HeadLoss"))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    with pytest.raises(ValueError, match=r"a loss reads the teacher's head.*not loaded in full: missing bbox_head"):
        FPNDistill(retinanet(), retinanet(), distiller, str(tmp_path / "teacher.pth"))


def test_a_query_head_is_refused():
    detector = dict(
        cfg_path="mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
        backbone=dict(depth=18, init_cfg=None),
        neck=dict(in_channels=[128, 256, 512]),
        encoder=dict(num_layers=1),
        decoder=dict(num_layers=1),
    )
    with pytest.raises(ValueError, match="the head of DeformableDETR works on queries.*PCKALoss"):
        distilled(detector)


# the student's head

OWN = dict(type="pcka_mmdet.FPNDistiller", losses=dict(own=dict(type="pcka_mmdet.OwnHeadLoss")))


def own_head(student: dict, teacher: dict) -> FPNDistill:
    torch.manual_seed(0)
    return FPNDistill(copy.deepcopy(student), copy.deepcopy(teacher), copy.deepcopy(OWN), "random")


@pytest.mark.parametrize("kind", HEADS)
def test_a_step_through_the_students_own_head(kind):
    model = own_head(HEADS[kind](), HEADS[kind]())
    losses = model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss")
    assert losses["distill.loss_own"] > 0 and not list(model.distiller.losses.parameters())
    head = model.student.rpn_head if kind == "faster r-cnn" else model.student.bbox_head
    used = [parameter for name, parameter in head.named_parameters() if "init" not in name]
    gradients = torch.autograd.grad(losses["distill.loss_own"], used, allow_unused=True, retain_graph=True)
    assert sum(g is not None and bool(g.abs().max() > 0) for g in gradients) > len(used) / 2
    step(model, losses)


@pytest.mark.parametrize("kind", HEADS)
def test_equal_heads_agree_whether_in_training_or_not(kind):
    """Some heads give different outputs in training; read, they are the same."""
    model = own_head(HEADS[kind](), HEADS[kind]())
    if kind == "fcos":
        for side in (model.student, model.teacher):
            side.bbox_head.norm_on_bbox = True
    for module in (*model.student.modules(), *model.teacher.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    model.teacher.load_state_dict(model.student.state_dict())
    head = model.student.rpn_head if kind == "faster r-cnn" else model.student.bbox_head
    assert head.training
    student_maps = [m.requires_grad_() for m in maps(0)]
    outputs = [*zip(*(kind for kind in head(student_maps) if isinstance(kind, (list, tuple))), strict=True)]
    batch = Batch(None, (128, 128), model.student, model._teacher)
    record = dict(head=model._teacher.head(maps(0)))
    loss = model.distiller.compute_distill_losses(dict(head=outputs), [TeacherStep(record, batch)])["loss_own"]
    for gradient in torch.autograd.grad(loss, student_maps):
        assert gradient.abs().max() < 1e-5
    if kind not in ("fcos", "atss"):
        torch.testing.assert_close(loss, torch.zeros(()), rtol=0, atol=1e-5)


def other_anchors() -> dict:
    config = retinanet()
    config["bbox_head"]["anchor_generator"]["octave_base_scale"] = 4
    return config


def other_classes() -> dict:
    config = retinanet()
    config["bbox_head"]["num_classes"] = 5
    return config


def wider_distributions() -> dict:
    config = gfl()
    config["bbox_head"]["reg_max"] = 8
    return config


def test_levels_that_the_teacher_has_alone_are_left_out():
    config = retinanet()
    config["neck"]["num_outs"] = 5
    config["bbox_head"]["anchor_generator"]["strides"] = [8, 16, 32, 64, 128]
    model = own_head(retinanet(), config)
    losses = model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss")
    assert losses["distill.loss_own"] > 0
    assert [pair.stride for pair in model.distiller.terms["own"][0].pairs] == [8, 16, 32, 64]


@pytest.mark.parametrize(
    "student, teacher, problem",
    [
        (fcos, retinanet, r"their heads code boxes in different ways \(FCOSHead and RetinaHead\): use pcka_mmdet"),
        (wider_distributions, gfl, "their heads code boxes in different ways"),
        (other_anchors, retinanet, "their heads have different anchors"),
        (other_classes, retinanet, "their heads score 5 and 2 classes"),
    ],
)
def test_heads_that_cannot_be_compared(student, teacher, problem):
    with pytest.raises(ValueError, match=f"OwnHeadLoss compares the heads .* position by position, but {problem}"):
        own_head(student(), teacher())


def test_heads_with_deltas_of_other_units():
    """Boxes are compared, not codes."""
    scaled = retinanet()
    scaled["bbox_head"]["bbox_coder"]["target_stds"] = [0.5, 0.5, 0.5, 0.5]
    model = own_head(scaled, retinanet())
    codes = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    scores = torch.zeros(1, 2, 2, 2)
    heads = model.student.bbox_head, model._teacher.dense_head
    student_outputs, teacher_outputs = (
        reader_of(head).read((scores, c), 8) for head, c in zip(heads, (2 * codes, codes), strict=True)
    )
    torch.testing.assert_close(student_outputs.boxes, teacher_outputs.boxes)


def test_a_quality_that_only_the_teacher_scores():
    student = retinanet()
    student["bbox_head"].update({key: atss()["bbox_head"][key] for key in ("anchor_generator", "bbox_coder")})
    with pytest.raises(ValueError, match="but only the teacher's head scores the quality of boxes"):
        own_head(student, atss())
    model = own_head(atss(), student)
    losses = model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss")
    assert losses["distill.loss_own"] > 0


def test_a_quality_of_another_kind():
    """PAA scores the overlap in the place of ATSS's centerness."""
    paa, plain = atss(), retinanet()
    paa["bbox_head"]["type"] = "PAAHead"
    plain["bbox_head"].update({key: atss()["bbox_head"][key] for key in ("anchor_generator", "bbox_coder")})
    with pytest.raises(ValueError, match=r"one of their heads scores centerness, the other overlap \(ATSSHead and PAA"):
        own_head(atss(), paa)
    with pytest.raises(ValueError, match="but only the teacher's head scores the quality of boxes"):
        own_head(plain, paa)
    own_head(paa, plain)
