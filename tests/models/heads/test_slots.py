"""Predictions of dense heads at all their anchors or points, and what each of these is to predict."""

from itertools import pairwise

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from pcka_mmdet.models.heads import boxes, reader_of
from pcka_mmdet.models.heads.slots import best_of, priors_of_level
from pcka_mmdet.models.levels import source_levels
from tests.detectors import atss, build, fcos, gfl, retinanet, rtmdet, yolox

SIZES = (16, 8, 4, 2)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmdet")


def slots_of(detector, training: bool = True):
    """A head, its reader, its raw outputs by level for random maps, and its slots."""
    head = detector.train(training).bbox_head
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 16, size, size, generator=generator) for size in SIZES]
    with torch.no_grad():
        kinds = [kind for kind in head(maps) if kind is not None]
    outputs = list(zip(*kinds, strict=True))
    reader = reader_of(head)
    return head, reader, outputs, reader.slots(outputs, source_levels(detector, "head"))


def own_boxes(head, level: int, outputs, training: bool) -> torch.Tensor:
    """The boxes of the first image at a level as MMDetection decodes them."""
    size, stride = outputs[0].shape[-2:], 8 * 2**level
    priors = head.prior_generator.single_level_grid_priors(size, level, device="cpu")
    codes = outputs[1][0].permute(1, 2, 0)
    kind = type(head).__name__
    if kind == "GFLHead":
        centres = (priors[:, :2] + priors[:, 2:]) / 2
        return head.bbox_coder.decode(centres, head.integral(codes.reshape(-1, 20)) * stride)
    codes = codes.reshape(-1, 4)
    if kind == "YOLOXHead":
        with_stride = torch.cat([priors, torch.full_like(priors, stride)], 1)
        return head._bbox_decode(with_stride, codes[None])[0]
    if kind == "FCOSHead" and training and head.norm_on_bbox:
        codes = codes * stride
    return head.bbox_coder.decode(priors, codes)


def normalised_fcos():
    config = fcos()
    config["bbox_head"]["norm_on_bbox"] = True
    return config


@pytest.mark.parametrize("training", [True, False], ids=["training", "test"])
@pytest.mark.parametrize("detector", [retinanet, fcos, normalised_fcos, gfl, atss, rtmdet, yolox])
def test_boxes_are_those_of_mmdetection(detector, training):
    head, _, outputs, slots = slots_of(build(detector()), training)
    wanted = torch.cat([own_boxes(head, level, of_level, training) for level, of_level in enumerate(outputs)])
    torch.testing.assert_close(slots.boxes[0], wanted, atol=1e-3, rtol=1e-5)
    anchors = 3 if slots.counts[0] == 3 * 256 else 1
    assert slots.counts == [anchors * size**2 for size in SIZES] and slots.logits.shape == (2, len(wanted), 2)
    # classes and quality are in the same order
    position = slots.counts[0] + 8 * 3 + 5  # row 3, column 5 of the second level
    if anchors == 1:
        assert torch.equal(slots.logits[1, position], outputs[1][0][1, :, 3, 5])
        if slots.quality is not None:
            assert torch.equal(slots.quality[1, position], outputs[1][2][1, 0, 3, 5])
    assert slots.strides[position] == 16


def test_priors_are_those_of_the_generator():
    for config in (retinanet(), fcos(), rtmdet()):
        detector = build(config)
        head = detector.bbox_head
        for level in source_levels(detector, "head"):
            own = head.prior_generator.single_level_grid_priors((3, 5), level.index, device="cpu")
            wanted = own if own.shape[1] == 4 else torch.cat([own, own], 1)
            torch.testing.assert_close(priors_of_level(head, level, (3, 5), torch.zeros(1)), wanted)


FOUND = torch.tensor([[4.0, 6.0, 40.0, 44.0], [70.0, 64.0, 86.0, 82.0], [30.0, 90.0, 100.0, 120.0]])
SCORES = torch.tensor([[0.9, 0.1], [0.2, 0.6], [0.0, 0.0]])


def naive_assignment(priors: list, found: list, scores: list[float]) -> list[tuple[int, float]]:
    """The box of each anchor of a RetinaNet, and how far it is to predict it: a loop."""
    overlaps = [[iou(prior, box) * (score > 0) for box, score in zip(found, scores, strict=True)] for prior in priors]
    best = [max(of_box) for of_box in zip(*overlaps, strict=True)]
    chosen = []
    for of_anchor in overlaps:
        fits = [min(max((overlap - 0.4) / 0.1, 0), 1) for overlap in of_anchor]
        fits = [1.0 if 0 < most < overlap + 1e-7 else fit for most, overlap, fit in zip(best, of_anchor, fits)]
        ranks = [fit * overlap * score for fit, overlap, score in zip(fits, of_anchor, scores, strict=True)]
        index = ranks.index(max(ranks))
        chosen.append((index, fits[index] if ranks[index] > 0 else 0.0))
    return chosen


def test_an_anchor_is_to_predict_the_boxes_that_it_overlaps():
    _, reader, _, slots = slots_of(build(retinanet()))
    index, fits = reader.assign(slots, 0, FOUND, SCORES)
    wanted = naive_assignment(slots.priors.tolist(), FOUND.tolist(), SCORES.amax(1).tolist())
    for (box, fit), i, found_fit in zip(wanted, index.tolist(), fits.tolist(), strict=True):
        assert found_fit == pytest.approx(fit, abs=1e-4) and (i == box or fit == 0)
    assert (fits == 1).sum() > 0 and (fits == 0).sum() > 0


@pytest.mark.parametrize("low_quality", [True, False])
def test_anchors_fit_wholly_where_mmdetections_assigner_says_so(low_quality):
    """Small objects have anchors of low overlap alone."""
    head, reader, _, slots = slots_of(build(retinanet()))
    head.assigner.match_low_quality = low_quality
    found = torch.tensor([[3.0, 5, 11, 12], [40, 33, 52, 45], [60, 60, 84, 88], [90, 10, 125, 60]])
    index, fits = reader.assign(slots, 0, found, torch.full((4, 1), 0.7))
    objects = InstanceData(bboxes=found, labels=torch.zeros(4, dtype=torch.long))
    assigned = head.assigner.assign(InstanceData(priors=slots.priors), objects).gt_inds
    assert torch.equal(fits == 1, assigned > 0) and torch.equal(index[fits == 1], assigned[assigned > 0] - 1)
    assert (1 in assigned) == low_quality


def test_an_anchor_of_two_boxes_goes_to_that_of_the_higher_overlap():
    """And not to that of the higher score; a box that the teacher is not sure of takes none from another."""
    _, reader, _, slots = slots_of(build(retinanet()))
    exact = slots.priors[300]
    beside = torch.cat([exact[:2], exact[:2] + 1.3 * (exact[2:] - exact[:2])])  # their overlap is 0.59
    for score, box in ((0.6, 0), (0.05, 1)):
        index, fits = reader.assign(slots, 0, torch.stack([exact, beside]), torch.tensor([[score], [0.9]]))
        assert (index[300], fits[300]) == (box, 1)


def iou(first, second) -> float:
    sides = [max(min(first[i + 2], second[i + 2]) - max(first[i], second[i]), 0) for i in (0, 1)]
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


@pytest.mark.parametrize("center_sampling", [False, True])
def test_points_are_to_predict_boxes_as_in_fcos(center_sampling):
    config = fcos()
    config["bbox_head"]["center_sampling"] = center_sampling
    head, reader, outputs, slots = slots_of(build(config))
    index, fits = reader.assign(slots, 0, FOUND, SCORES)
    points = head.prior_generator.grid_priors([o[0].shape[-2:] for o in outputs], device="cpu")
    labels, _ = head.get_targets(points, [InstanceData(bboxes=FOUND[:2], labels=torch.tensor([0, 1]))])
    labels = torch.cat(labels)
    assert torch.equal(fits > 0, labels < 2) and torch.equal(index[fits > 0], labels[labels < 2])
    assert (fits > 0).sum() > 4


@pytest.mark.parametrize("detector", [atss, gfl, rtmdet, yolox])
def test_others_are_to_predict_what_their_assigner_says(detector):
    head, reader, _, slots = slots_of(build(detector()))
    index, fits = reader.assign(slots, 1, FOUND, SCORES)
    objects = InstanceData(bboxes=FOUND[:2], labels=torch.tensor([0, 1]))
    meta = dict(img_shape=(128, 128))
    if detector in (atss, gfl):
        valid = torch.ones(len(slots.priors), dtype=torch.bool)
        labels = head._get_targets_single(slots.priors, valid, slots.counts, objects, meta)[1]
        assert torch.equal(index[fits > 0], labels[labels < 2])
    elif detector is rtmdet:
        places = torch.cat([slots.priors[:, :2], slots.strides[:, None].expand(-1, 2)], 1)
        valid = torch.ones(len(places), dtype=torch.bool)
        labels = head._get_targets_single(slots.logits[1], slots.boxes[1], places, valid, objects, meta)[1]
        assert torch.equal(index[fits > 0], labels[labels < 2])
    else:
        places = torch.cat([slots.priors[:, :2], slots.strides[:, None].expand(-1, 2)], 1)
        foreground = head._get_targets_single(places, slots.logits[1], slots.boxes[1], slots.quality[1], objects, meta)[
            0
        ]
        labels = torch.where(foreground, 0, 2)
    assert torch.equal(fits > 0, labels < 2) and (fits > 0).sum() >= 2


def test_nothing_found_is_background():
    for detector in (retinanet, fcos, atss, rtmdet):
        _, reader, _, slots = slots_of(build(detector()))
        _, fits = reader.assign(slots, 0, FOUND, torch.zeros(3, 2))
        assert not fits.any(), detector


def test_the_highest_score_counts_among_boxes_that_fit():
    fits = torch.tensor([[1.0, 1.0, 0.5], [0.0, 0.4, 1.0], [0.0, 0.0, 0.0]])
    scores = torch.tensor([[0.2, 0.1], [0.1, 0.8], [0.3, 0.4]])
    for preferences, expected in ((torch.ones(3), [1, 2]), (torch.tensor([5.0, 1.0, 0.5]), [0, 1])):
        index, best = best_of(fits, scores, preferences)
        assert index.tolist()[:2] == expected
        assert best.tolist() == [*fits[[0, 1], expected].tolist(), 0.0]


def test_a_point_in_two_boxes_goes_to_the_smaller_one_as_in_fcos():
    """Unless the teacher is much less sure of it."""
    head, reader, outputs, slots = slots_of(build(fcos()))
    nested = torch.tensor([[8.0, 8, 72, 72], [20, 20, 64, 64]])
    points = head.prior_generator.grid_priors([o[0].shape[-2:] for o in outputs], device="cpu")
    labels, _ = head.get_targets(points, [InstanceData(bboxes=nested, labels=torch.tensor([0, 1]))])
    labels = torch.cat(labels)
    index, fits = reader.assign(slots, 0, nested, torch.tensor([[0.9, 0.0], [0.0, 0.6]]))
    assert torch.equal(fits > 0, labels < 2) and torch.equal(index[fits > 0], labels[labels < 2])
    before = (index[fits > 0] == 1).sum()
    index, fits = reader.assign(slots, 0, nested, torch.tensor([[0.9, 0.0], [0.0, 0.06]]))
    assert (index[fits > 0] == 1).sum() < before < len(labels[labels < 2])


@pytest.mark.parametrize("detector", [retinanet, atss, gfl, rtmdet])
def test_slots_in_the_padding_of_an_image(detector):
    student = build(detector())
    head, reader, outputs, _ = slots_of(student)
    sizes = [(128, 128), (70, 40)]
    inside = reader.in_images(outputs, source_levels(student, "head"), sizes)
    shapes = [level[0].shape[-2:] for level in outputs]
    for found, size in zip(inside, sizes, strict=True):
        assert torch.equal(found, torch.cat(head.prior_generator.valid_flags(shapes, size, device="cpu")))
    assert inside[0].all() and not inside[1].all()


def test_points_of_fcos_train_on_padding_too():
    student = build(fcos())
    _, reader, outputs, _ = slots_of(student)
    assert reader.in_images(outputs, source_levels(student, "head"), [(64, 64)]) is None


def test_paa_ranks_by_the_root_of_class_score_times_overlap():
    config = atss()
    config["bbox_head"]["type"] = "PAAHead"
    _, reader, _, slots = slots_of(build(config))
    wanted = (slots.logits.sigmoid() * slots.quality.sigmoid()[..., None]).sqrt()
    torch.testing.assert_close(reader.scores(slots), wanted)


def test_overlaps_are_those_of_mmdetection():
    from mmdet.structures.bbox import bbox_overlaps

    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(2, n, 4, generator=generator) * 50 for n in (5, 7))
    for one in (first, second):
        one[..., 2:] += one[..., :2]
    torch.testing.assert_close(boxes.overlaps(first, second), bbox_overlaps(first, second))
    upside_down = torch.tensor([[3.0, 3.0, 1.0, 1.0]])
    assert not boxes.overlaps(upside_down, upside_down).any()


def test_scores_have_their_quality():
    _, reader, outputs, slots = slots_of(build(yolox()))
    scores = reader.scores(slots)
    assert torch.isclose(scores[0, 0, 1], outputs[0][0][0, 1, 0, 0].sigmoid() * outputs[0][2][0, 0, 0, 0].sigmoid())
    entropy, predicted = reader.class_entropy(slots, torch.full_like(slots.logits, 0.3))
    torch.testing.assert_close(predicted, scores)
    p = scores.double()
    torch.testing.assert_close(entropy.double(), -(0.3 * p.log() + 0.7 * (1 - p).log()), rtol=1e-4, atol=1e-5)
    assert all(a >= b for a, b in pairwise(sorted(predicted.flatten().tolist(), reverse=True)))
