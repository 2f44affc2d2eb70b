"""What a plan takes from a config, and what it counts."""

import json
import re

import pytest
import torch
from mmengine.config import Config
from torch import nn

from pcka_mmdet.cli import make_parser
from pcka_mmdet.cli import plan as command
from pcka_mmdet.configuration.complexity import multiply_adds
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.engine.plan import (
    build_untrained,
    compared_proposals,
    count_memory,
    count_teacher,
    head_passes,
    kept_for_backward,
    optimizer_state,
    training_images,
    training_size,
    weights,
)
from tests.detectors import distillation, faster_rcnn, retinanet
from tests.detr import deformable_detr

MINE = "mine.py"


def config(dataset, **more):
    return Config(dict(train_dataloader=dict(batch_size=2, dataset=dataset), train_cfg=dict(max_epochs=1), **more))


def test_a_set_that_is_repeated_counts_as_often(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(dict(images=[{}] * 4)))
    dataset = dict(type="RepeatDataset", times=8, dataset=dict(type="CocoDataset", ann_file=str(path)))
    assert training_images(config(dataset), MINE) == 32


def test_images_without_boxes_count_as_in_the_training(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(dict(images=[dict(id=i) for i in range(4)], annotations=[dict(image_id=1)])))
    dataset = dict(type="CocoDataset", ann_file=str(path), filter_cfg=dict(filter_empty_gt=True))
    assert training_images(config(dataset), MINE) == 1


@pytest.mark.parametrize("indices, images", [(3, 3), (-2, 2), (9, 4), ([0, 2], 2)])
def test_chosen_images_count_alone(indices, images, tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(dict(images=[{}] * 4)))
    assert training_images(config(dict(type="CocoDataset", ann_file=str(path), indices=indices)), MINE) == images


@pytest.mark.parametrize(
    "dataset", [dict(type="ConcatDataset", datasets=[]), dict(type="VOCDataset", ann_file="train.txt")]
)
def test_other_sets(dataset):
    with pytest.raises(ValueError, match="the training set of mine.py is not one file in COCO's format: give --images"):
        training_images(config(dataset), MINE)
    with pytest.raises(ValueError, match="pipeline of mine.py has no Resize, RandomCrop or Pad with a size: give --si"):
        training_size(config(dataset), MINE)


def test_files_that_are_not_there():
    assert training_images(config(dict(ann_file="a/instances_train2017.json")), MINE) == 117_266
    with pytest.raises(ValueError, match="there is no annotation file at 'mine.json' to count the images in: give --i"):
        training_images(config(dict(ann_file="mine.json")), MINE)


def test_what_runs_of_a_two_stage_teacher():
    """The RPN, and a RoI head whose cost grows with the proposals that are compared."""
    head, roi = dict(type="pcka_mmdet.HeadLoss", images=0.5), dict(type="pcka_mmdet.RoIHeadLoss")
    assert head_passes(dict(head=head)) == 2.0 and head_passes(dict(roi=roi)) == 1.0 and head_passes({}) == 0.0
    assert compared_proposals(dict(roi=roi)) == 128 and compared_proposals(dict(head=head)) == 0
    few, many, cascade = (
        count_teacher(
            build_detector(faster_rcnn(stages)).eval(),
            [64, 96],
            dict(head=head, roi=dict(roi, proposals=number)),
        )
        for stages, number in ((1, 10), (1, 30), (3, 10))
    )
    assert 0 < few.head == many.head and few.roi_head > 0 and many.roi_head == 3 * few.roi_head
    assert 2 * few.roi_head < cascade.roi_head
    dense = count_teacher(build_detector(retinanet()).eval(), [64, 96], dict(head=head))
    student = multiply_adds(build_detector(retinanet()).eval(), 64, 96)
    assert student == dense.to_neck + dense.head and dense.roi_head == 0


def test_what_runs_of_a_teacher_whose_boxes_are_read():
    """Of two stages 300 proposals pass the RoI head once; a DETR runs as a whole."""
    boxes = dict(boxes=dict(type="pcka_mmdet.PredictionLoss"))
    of_two_stages, of_roi = (
        count_teacher(build_detector(faster_rcnn()).eval(), [64, 96], losses)
        for losses in (boxes, dict(roi=dict(type="pcka_mmdet.RoIHeadLoss", proposals=100)))
    )
    assert head_passes(boxes) == 1.0 and of_two_stages == of_roi
    detr = build_detector(deformable_detr()).eval()
    counts = [
        count_teacher(detr, [64, 96], dict(loss=loss))
        for loss in (
            boxes["boxes"],
            dict(type="pcka_mmdet.QueryLoss"),
            dict(type="pcka_mmdet.MimicLoss", source="memory"),
        )
    ]
    assert counts[0] == counts[1] == counts[2] and counts[0].roi_head == 0
    assert counts[0].to_neck + counts[0].head == multiply_adds(detr, 64, 96) > counts[0].to_neck
    assert count_teacher(detr, [64, 96], dict(maps=dict(type="pcka_mmdet.MimicLoss"))).head == 0


def test_losses_on_maps_may_read_the_head():
    by_scores, logits = dict(type="pcka_mmdet.MimicLoss", by_scores=True), dict(type="mmrazor.DISTLoss", source="head")
    assert head_passes(dict(maps=by_scores)) == head_passes(dict(dist=logits)) == 1.0
    assert head_passes(dict(maps=dict(type="pcka_mmdet.MimicLoss"))) == 0.0


def test_what_a_step_keeps():
    """The input of the layer for its weight's gradient, the ReLU's output, once for two uses; weights are known."""
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    with kept_for_backward(model) as kept:
        output = model(torch.rand(7, 3))
        (output * output).sum()
    assert sum(kept.values()) == 4 * (7 * 3 + 7 * 5)
    with pytest.raises(RuntimeError, match="run no backward in it"):
        output.sum().backward()


HEADS = dict(
    head=dict(type="pcka_mmdet.HeadLoss"),
    own=dict(type="pcka_mmdet.OwnHeadLoss"),
    mimic=dict(type="pcka_mmdet.MimicLoss"),
)


def memory(optimizer, losses, hooks=(), size=(64, 64)):
    spec = distillation(teacher=retinanet(), distiller=dict(type="pcka_mmdet.FPNDistiller", losses=losses))
    whole = Config(
        dict(model=spec, optim_wrapper=dict(type="AmpOptimWrapper", optimizer=optimizer), custom_hooks=hooks)
    )
    model = build_untrained(whole)
    return model, count_memory(model, whole, size)


def test_the_memory_of_head_losses():
    """A teacher's head on the student's maps keeps as much as the student's head, and grows with the image."""
    sgd = dict(type="SGD", lr=0.1)
    counted = {name: memory(sgd, {name: HEADS[name]})[1] for name in ("mimic", "own", "head")}
    extra = {name: each.kept - each.kept_alone for name, each in counted.items()}
    assert 0 < extra["mimic"] < extra["head"] and extra["own"] < extra["head"]
    assert len({each.kept_alone for each in counted.values()}) == 1
    _, large = memory(sgd, dict(head=HEADS["head"]), size=(128, 128))
    assert large.kept - large.kept_alone == pytest.approx(4 * extra["head"], rel=0.1)


@pytest.mark.parametrize("kind, states", [("SGD", 0), ("AdamW", 2)])
def test_the_memory_of_the_optimizer_and_of_averaged_weights(kind, states):
    model, counted = memory(dict(type=kind, lr=0.1), dict(mimic=HEADS["mimic"]), [dict(type="EMAHook")])
    trained = [p for p in model.parameters() if p.requires_grad]
    values = 4 * sum(p.numel() for p in trained)
    counters = 4 * len(trained) if states else 0  # AdamW's `step` of each parameter
    assert counted.gradients == values and counted.optimizer == states * values + counters
    assert counted.average == counted.student == weights(model) > counted.student_alone == weights(model.student)
    assert counted.checkpoint == 2 * counted.student + counted.optimizer
    assert counted.teacher == weights(model.teacher)
    momentum = Config(dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9))))
    assert optimizer_state(model, momentum) == values and optimizer_state(model, Config()) == 0


def test_a_measured_step_beats_the_formula(tmp_path, capsys, monkeypatch):
    """Of a log beside the config, of another work directory, or as a number."""
    spec = dict(distillation(teacher=retinanet()), distiller=dict(type="pcka_mmdet.FPNDistiller", losses=HEADS))
    pipeline = [dict(type="Resize", scale=64)]
    more = dict(model=spec, optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)))
    config(dict(type="CocoDataset", ann_file="instances_train2017.json", pipeline=pipeline), **more).dump(
        tmp_path / "config.py"
    )

    def printed(*words):
        given = ["plan", str(tmp_path / "config.py"), "--gpus", "1", "--images", "2000", *map(str, words)]
        command.run(make_parser("plan").parse_args(given))
        return capsys.readouterr().out

    text = printed("--student-step", 0.5)
    assert (
        re.search(r"1 +1,000 .* 8 min +\d+ min", text) and "by the formula" in text and "the same, measured" not in text
    )
    assert "state of SGD" in text and "heads included" in text
    log = tmp_path / "20260101_000000" / "vis_data"
    log.mkdir(parents=True)
    (log / "scalars.json").write_text("".join(f'{{"time": {time}, "iter": 1, "step": 1}}\n' for time in (9, 4, 1)))
    text = printed("--student-step", 2)
    assert re.search(r"1 +1,000 .* 33 min +1\.1 h", text) and "distilled, measured" in text
    assert re.search(r"the same, measured +2\.00", text)
    for change in (("--batch", 4), ("--size", 64, 96)):  # the log is of another step
        assert "by the formula" in printed("--student-step", 2, *change)
    assert "distilled, measured" in printed("--student-step", 2, "--batch", 2)
    assert re.search(r"1 +1,000 .* 1\.1 h +20 s", printed("--student-step", tmp_path, "--step", 0.02))
    with pytest.raises(ValueError, match="'none' is no number of seconds, and no work directory with the log of a tra"):
        printed("--step", "none")


def test_a_plan_of_a_recipe(tmp_path, capsys):
    spec = dict(distillation(teacher=retinanet()), recipe="both-heads")
    del spec["distiller"]
    dataset = dict(type="CocoDataset", ann_file="instances_train2017.json")
    config(dataset, model=spec, optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1))).dump(tmp_path / "config.py")
    words = ["plan", str(tmp_path / "config.py"), "--size", "64", "64"]
    command.run(make_parser("plan").parse_args(words))
    assert re.search(r"passes through it in a step, n +3 ", capsys.readouterr().out)
