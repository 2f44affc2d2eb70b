"""RCKALoss: CKA over the samples of a batch, in one process and in two."""

import pytest
import torch

from pcka_mmdet.functional.cka import CENTERINGS, MIN_SAMPLES
from pcka_mmdet.models import RCKALoss
from pcka_mmdet.models.levels import Level
from pcka_mmdet.models.losses.rcka_loss import gathered
from pcka_mmdet.models.sources import RoIOutputs
from tests.detectors import build, distillation, faster_rcnn, raw_batch
from tests.functional.test_cka import naive_cka


def logits(samples: int, classes: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("centering", CENTERINGS)
def test_equals_the_naive_definition(centering):
    student, teacher = logits(6, 5), logits(6, 5, seed=1)
    loss = RCKALoss(loss_weight=2.0, class_weight=0.5, centering=centering)
    samples, classes = naive_cka(student, teacher, centering), naive_cka(student.T, teacher.T, centering)
    torch.testing.assert_close(loss(student, teacher), 2.0 * (1 - samples) + 0.5 * (1 - classes))
    torch.testing.assert_close(loss.metrics(), {"similarity.rcka": samples})
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student.requires_grad_())


def test_maps_of_any_width_are_compared_by_image():
    student, teacher = torch.randn(4, 3, 2, 2, requires_grad=True), torch.randn(4, 5, 3, 3, requires_grad=True)
    loss = RCKALoss()(student, teacher)
    expected = naive_cka(student.detach().reshape(4, -1), teacher.detach().reshape(4, -1), "center")
    torch.testing.assert_close(loss.double(), 1 - expected, rtol=1e-4, atol=1e-5)
    loss.backward()
    assert student.grad.any() and teacher.grad is None
    assert not RCKALoss().needs_connector(3, 5)


def test_maps_are_averaged_to_a_grid():
    student, teacher = torch.randn(4, 3, 6, 4), torch.randn(4, 5, 2, 8)
    cells = [maps.unflatten(3, (2, -1)).unflatten(2, (2, -1)).mean((3, 5)) for maps in (student, teacher)]
    torch.testing.assert_close(RCKALoss(grid=2)(student, teacher), RCKALoss()(*cells))
    assert RCKALoss(grid=2).describe((6, 4)) == "weight 1, 2x2 cells"
    with pytest.raises(ValueError, match="grid is a number of cells, got 0: write 8, or None"):
        RCKALoss(grid=0)


def test_what_it_does_not_depend_on():
    student, teacher = logits(6, 5), logits(6, 5, seed=1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    loss = RCKALoss(class_weight=1.0)
    torch.testing.assert_close(loss(student[order], teacher[order]), loss(student, teacher))
    torch.testing.assert_close(loss(student * 1e6, teacher * 1e-6), loss(student, teacher))
    assert abs(loss(student, student).item()) < 1e-12


@pytest.mark.parametrize("centering", CENTERINGS)
def test_too_few_samples_are_no_loss_and_are_said_once(centering, warned):
    loss, needed = RCKALoss(centering=centering), MIN_SAMPLES[centering]
    student = logits(needed - 1, 5).requires_grad_()
    message = f"a batch has {needed - 1} samples, and centering='{centering}' needs {needed}: its loss is 0"
    assert loss(logits(needed, 5), logits(needed, 5, seed=1)) > 0 and loss.metrics()
    for _ in range(2):
        value = loss(student, logits(needed - 1, 5, seed=1))
    value.backward()
    assert value == 0 and not student.grad.any() and loss.metrics() == {}
    assert len(warned) == 1 and message in warned[0] and "gather=True" in warned[0]
    RCKALoss(centering=centering, gather=True)(student, logits(needed - 1, 5, seed=1))
    assert f"a batch of all processes has {needed - 1} samples" in warned[1] and "gather" not in warned[1]


def roi_outputs(scores: torch.Tensor) -> RoIOutputs:
    return RoIOutputs(torch.zeros(len(scores), 5), scores, torch.zeros(len(scores), 4))


def test_of_a_roi_head_the_proposals_that_the_teacher_takes_for_an_object(warned):
    student, teacher = logits(9, 4), logits(9, 4, seed=1)
    teacher[:, 3] = -10.0  # the last class is the background
    teacher[[1, 5], 3] = 10.0
    objects = [0, 2, 3, 4, 6, 7, 8]
    loss = RCKALoss()
    actual = loss(roi_outputs(student), roi_outputs(teacher))
    torch.testing.assert_close(actual, loss(student[objects], teacher[objects]))
    teacher[:, 3] = 10.0
    assert loss(roi_outputs(student), roi_outputs(teacher)) == 0
    assert "a batch has 0 samples" in warned[0]


@pytest.mark.parametrize("class_weight", [0.0, 1.0])
def test_a_step_of_a_two_stage_pair(class_weight):
    loss = dict(type="pcka_mmdet.RCKALoss", source="roi_head", class_weight=class_weight)
    config = distillation(
        architecture=faster_rcnn(),
        teacher=faster_rcnn(),
        distiller=dict(type="pcka_mmdet.FPNDistiller", losses=dict(rcka=loss)),
    )
    model = build(config)
    bias = model.teacher.roi_head.bbox_head.fc_cls.bias
    torch.nn.init.constant_(bias[:1], 5.0)  # random weights take nothing for an object
    losses = model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss")
    assert losses["distill.loss_rcka"] > 0
    losses["distill.loss_rcka"].backward()
    assert model.student.roi_head.bbox_head.fc_cls.weight.grad.any()


def test_bad_input():
    with pytest.raises(ValueError, match=r"centering must be one of .*, got 'centre'"):
        RCKALoss(centering="centre")
    with pytest.raises(ValueError, match=r"got \(4, 5\) of the student and \(3, 5\) of the teacher: the samples must"):
        RCKALoss()(logits(4, 5), logits(3, 5))
    with pytest.raises(ValueError, match="the samples and classes must agree"):
        RCKALoss(class_weight=1.0)(logits(4, 5), logits(4, 6))
    with pytest.raises(ValueError, match="class_weight compares classes, and a map has none: use source='logits'"):
        RCKALoss(class_weight=1.0).prepare(Level(0, 8, 16), Level(0, 8, 16))
    with pytest.raises(ValueError, match="the student has 5 classes or channels, the teacher 6"):
        RCKALoss(class_weight=1.0).prepare(Level(0, None, 5), Level(0, None, 6))
    RCKALoss().prepare(Level(0, None, 5), Level(0, None, 6))


def test_a_term_over_too_few_classes_is_refused_before_the_training():
    two = Level(0, None, 2)
    RCKALoss(class_weight=1.0, centering="none").prepare(two, two)
    with pytest.raises(
        ValueError, match="class_weight compares classes, and centering='center' needs 3 of them; there"
    ):
        RCKALoss(class_weight=1.0, centering="center").prepare(two, two)
    roi_head = Level(0, None, None)  # its classes are known with its outputs
    loss = RCKALoss(class_weight=1.0)
    loss.prepare(roi_head, roi_head)
    with pytest.raises(ValueError, match="centering='center' needs 3 of them; there are 2: use class_weight=0"):
        loss(roi_outputs(logits(4, 2)), roi_outputs(torch.tensor([[9.0, 0.0]]).repeat(4, 1)))


def test_the_cell_in_the_table_of_levels():
    loss = RCKALoss(loss_weight=2.0, class_weight=0.5, gather=True)
    assert loss.describe(()) == "weight 2, classes 0.5, samples of all processes"


def test_one_process_gathers_its_own():
    rows = logits(3, 2)
    assert gathered(rows) is rows
