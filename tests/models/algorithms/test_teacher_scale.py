"""A teacher that sees larger images than the student."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from pcka_mmdet.models.batches import of_both_sides, reduced
from pcka_mmdet.models.levels import neck_levels, source_levels
from tests.detectors import build, distillation, faster_rcnn, fcos, raw_batch, retinanet, rtmdet, step
from tests.detr import deformable_detr

MAPS = dict(maps=dict(type="pcka_mmdet.MimicLoss"), pcka=dict(type="pcka_mmdet.PCKALoss", patch_size=1))
TEACHERS_HEAD = dict(head=dict(type="pcka_mmdet.HeadLoss"))
OWN_HEAD = dict(own=dict(type="pcka_mmdet.OwnHeadLoss"))


def model_of(losses: dict, scale: int = 2, student=retinanet, teacher=retinanet, **options):
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    sides = dict(architecture=student(), teacher=teacher())
    return build(distillation(**sides, distiller=distiller, teacher_scale=scale, **options)).train()


def batch(model, *sizes):
    return model.data_preprocessor(copy.deepcopy(raw_batch(*sizes)), True)


def test_levels_pair_by_the_students_pixels():
    model = build(retinanet())
    assert [(level.stride, level.own_stride) for level in neck_levels(model)] == [(s, s) for s in (8, 16, 32, 64)]
    scaled = source_levels(model, "head", 2)
    assert [(level.stride, level.own_stride, level.name) for level in scaled] == [
        *((stride, 2 * stride, f"s{stride}") for stride in (4, 8, 16, 32))
    ]
    thirds = [level.stride for level in neck_levels(model, 3)]
    assert thirds == pytest.approx([8 / 3, 16 / 3, 32 / 3, 64 / 3])
    terms = model_of(MAPS).distiller.terms["maps"]
    assert [(term.stride, term.pairs[0].teacher.index) for term in terms] == [(8, 1), (16, 2), (32, 3)]


def test_the_student_sees_means_of_pixels_and_its_boxes_are_reduced():
    model = model_of(MAPS)
    data = batch(model, (64, 96), (128, 64))
    inputs, samples = data["inputs"], data["data_samples"]
    samples[1].gt_instances.bboxes = HorizontalBoxes(samples[1].gt_instances.bboxes)
    samples[0].set_metainfo(dict(scale_factor=(1.0, 3.0)))
    before = copy.deepcopy(samples)
    images, small = reduced(inputs, samples, 2)
    assert all(s.gt_instances is not o.gt_instances for s, o in zip(samples, small, strict=True))
    torch.testing.assert_close(images, inputs.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5)))
    for sample, old in zip(small, before, strict=True):
        boxes = getattr(old.gt_instances.bboxes, "tensor", old.gt_instances.bboxes)
        torch.testing.assert_close(sample.gt_instances.bboxes, boxes / 2)
        assert sample.img_shape == tuple(side // 2 for side in old.img_shape[:2])
        assert sample.batch_input_shape == tuple(images.shape[2:])
    assert small[0].scale_factor == (0.5, 1.5)
    assert [sample.img_shape for sample in samples] == [sample.img_shape for sample in before]
    samples[0].gt_instances.masks = torch.zeros(len(samples[0].gt_instances))
    with pytest.raises(ValueError, match=r"model.teacher_scale reduces boxes and no masks"):
        reduced(inputs, samples, 2)


@pytest.mark.parametrize("losses", [MAPS, TEACHERS_HEAD, OWN_HEAD], ids=["maps", "teacher-head", "own-head"])
@pytest.mark.parametrize("kind", [retinanet, fcos], ids=["retinanet", "fcos"])
def test_the_teacher_sees_the_large_images(kind, losses):
    """The student's losses are those of the reduced batch; the teacher's record is that of the large one."""
    model = model_of(losses, student=kind, teacher=kind)
    for module in model.student.modules():
        module.eval() if isinstance(module, torch.nn.BatchNorm2d) else None
    data = batch(model, (128, 192), (128, 192))
    found = model(**data, mode="loss")
    images, samples = reduced(data["inputs"], data["data_samples"], 2)
    alone = model.student(images, samples, mode="loss")
    for key, value in alone.items():
        total = sum(value) if isinstance(value, list) else value
        mixed = found[f"student.{key}"]
        torch.testing.assert_close(sum(mixed) if isinstance(mixed, list) else mixed, total)
    step(model, found)
    assert all(found[f"distill.loss_{term.key}"] > 0 for term in model.distiller.all_terms)


def test_boxes_of_both_sides_are_in_units_of_their_strides():
    """Distances in pixels: the teacher's images have twice as many."""
    model = model_of(OWN_HEAD, student=fcos, teacher=fcos)
    (loss,) = (term.loss for term in model.distiller.all_terms)
    student = []
    for side, stride in ((8, 8), (4, 16), (2, 32)):
        logits, distances, centerness = (
            torch.randn(1, 2, side, side),
            torch.rand(1, 4, side, side),
            torch.zeros(1, 1, side, side),
        )
        student.append((logits, distances * stride, centerness))
    teacher = [(logits, 2 * distances, centerness) for logits, distances, centerness in student]
    model.student.eval()  # distances are in pixels
    sides = SimpleNamespace(student=model.student, teacher=model._teachers[0])
    equal, scaled = loss(student, teacher, sides), loss(student, student, sides)
    loss.box_weight = 0.0
    assert loss(student, teacher, sides) == 0  # of classes: they are equal
    assert equal < scaled


def test_equal_maps_differ_by_nothing_in_the_teachers_head():
    """Both sides are its outputs, in the pixels of its images."""
    model = model_of(TEACHERS_HEAD, student=rtmdet, teacher=rtmdet)
    (loss,), teacher = (term.loss for term in model.distiller.all_terms), model._teachers[0]
    maps = [torch.randn(1, level.channels, 8, 8) for level in neck_levels(model.student)]
    outputs = teacher.head(maps)
    levels = [pair.teacher.index for pair in loss.pairs]
    sides = SimpleNamespace(teacher=teacher, teacher_outputs=outputs)
    assert loss([maps[index] for index in levels], [outputs[index] for index in levels], sides) == 0
    others = [[2 * output for output in outputs[index]] for index in levels]
    assert loss([maps[index] for index in levels], others, sides) > 0


@pytest.mark.parametrize("teacher", [retinanet, faster_rcnn, deformable_detr])
def test_the_teachers_boxes_are_in_the_students_pixels(teacher):
    boxes = dict(boxes=dict(type="pcka_mmdet.PredictionLoss"))
    model, same = (model_of(boxes, scale, teacher=teacher) for scale in (2, 1))
    same.load_state_dict(model.state_dict())
    same._teachers = model._teachers
    data = batch(model, (128, 192), (128, 192))
    student, found = [], []
    for one in (model, same):
        kept = one.distiller.all_terms[0].loss
        kept.register_forward_pre_hook(lambda module, inputs: student.append(inputs[0]) or found.append(inputs[1]))
    found_large = model(**data, mode="loss")["distill.loss_boxes"]
    record = found[0]
    halves = record._replace(boxes=record.boxes / 2)
    sides = SimpleNamespace(samples=None, student=model.student, teacher=model._teachers[0], teacher_scale=1)
    torch.testing.assert_close(model.distiller.all_terms[0].loss(student[0], halves, sides), found_large)
    same(**data, mode="loss")
    torch.testing.assert_close(found[-1].boxes, record.boxes)


def test_the_teacher_tells_images_from_the_padding_of_both():
    """A DETR reads it: images of 200 pixels in a batch of 224 are padded to 256 for both sides."""
    model = model_of(MAPS)
    data = batch(model, (200, 200), (224, 224))
    (images, samples), (small, small_samples) = of_both_sides(data["inputs"], data["data_samples"], 2, 64, 0.0)
    assert images.shape[2:] == (256, 256) and small.shape[2:] == (128, 128)
    assert {sample.batch_input_shape for sample in samples} == {(256, 256)}
    assert {sample.batch_input_shape for sample in small_samples} == {(128, 128)}
    assert {sample.batch_input_shape for sample in data["data_samples"]} == {(224, 224)}
    assert [sample.img_shape[:2] for sample in samples] == [(200, 200), (224, 224)]


def test_odd_sizes_are_padded_for_both_sides():
    model = model_of(TEACHERS_HEAD)
    step(model, model(**batch(model, (100, 150), (70, 90)), mode="loss"))


def test_a_student_of_another_family_takes_a_step():
    model = model_of(MAPS, student=rtmdet)
    step(model, model(**batch(model, (128, 128), (128, 128)), mode="loss"))


def test_maps_of_the_students_images_have_its_size():
    model = model_of(MAPS)
    maps = model.teacher_maps(torch.zeros(1, 3, 64, 96), None)
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_recipe_leaves_the_roi_head_out():
    """Its proposals are in pixels."""
    sides = dict(architecture=retinanet(), teacher=faster_rcnn(), recipe="teacher-head", distiller=None)
    assert set(build(distillation(**sides)).distiller.terms) == {"head", "roi"}
    assert set(build(distillation(**sides, teacher_scale=2)).distiller.terms) == {"head"}


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match=r"teacher_scale is a whole number from 1 on, got 1.5: write 2"):
        model_of(MAPS, scale=1.5)
    with pytest.raises(ValueError, match=r"teacher_scale=2: the losses \['roi'\] read the teacher's RoI head"):
        model_of(dict(roi=dict(type="pcka_mmdet.RoIHeadLoss")), student=faster_rcnn, teacher=faster_rcnn)
    with pytest.raises(ValueError, match=r"no level to distil: the student's neck has strides \[8, 16, 32, 64\]"):
        model_of(MAPS, scale=3)
    resizing = retinanet(
        batch_augments=[dict(type="BatchSyncRandomResize", random_size_range=(64, 96), size_divisor=32)]
    )
    with pytest.raises(ValueError, match=r"teacher_scale=2 and data_preprocessor.batch_augments both resize"):
        model_of(MAPS, student=lambda: resizing)
