"""A training that validates, keeps its best checkpoints and averages its weights, whole and interrupted."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tests.detectors import build, distillation, retinanet
from tests.runners import runner, validation

METRICS = "score", "doubt"
EPOCHS = 3


class Interrupt(Hook):
    """Stops a training in the middle of its last epoch."""

    def after_train_iter(self, runner: Runner, *_, **__) -> None:
        if runner.epoch == EPOCHS - 1:
            raise KeyboardInterrupt


def train(work_dir: Path, *hooks: Hook, **options) -> Runner:
    checkpoint = dict(type="pcka_mmdet.StudentCheckpointHook", interval=1, save_best=list(METRICS), rule="greater")
    average = dict(type="EMAHook", momentum=0.1)
    run = runner(
        distillation(),
        work_dir,
        epochs=EPOCHS,
        default_hooks=dict(checkpoint=checkpoint, logger=dict(type="LoggerHook", interval=1)),
        custom_hooks=[average, *hooks],
        **validation(),
        **options,
    )
    run.train()
    return run


@pytest.fixture(scope="module")
def trainings(tmp_path_factory) -> tuple[Runner, Runner]:
    """One that nothing interrupted, and one that was interrupted and resumed."""
    folder = tmp_path_factory.mktemp("trainings")
    with pytest.raises(KeyboardInterrupt):
        train(folder / "resumed", Interrupt())
    return train(folder / "whole"), train(folder / "resumed", resume=True)


def scores(run: Runner) -> list[float]:
    """The score of each epoch's validation."""
    return run.message_hub.get_scalar("val/score").data[0].tolist()


def checkpoints(run: Runner) -> dict[str, dict]:
    return {path.name: torch.load(path, weights_only=True) for path in Path(run.work_dir).glob("*.pth")}


def assert_equal(one: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert one.keys() == second.keys()
    for key, value in one.items():
        assert torch.equal(value, second[key]), key


def test_a_resumed_training_ends_as_if_nothing_had_happened(trainings):
    """Weights, averaged weights, optimizer and students, bit for bit, and every validation."""
    whole, resumed = (checkpoints(run) for run in trainings)
    assert whole.keys() == resumed.keys()
    for name, content in whole.items():
        for part in {"state_dict", "ema_state_dict"} & content.keys():
            assert_equal(content[part], resumed[name][part])
    states = (files[f"epoch_{EPOCHS}.pth"]["optimizer"]["state"] for files in (whole, resumed))
    for one, second in zip(*(state.values() for state in states), strict=True):
        assert_equal(one, second)
    assert len(set(scores(trainings[0]))) == EPOCHS and scores(trainings[0]) == scores(trainings[1])


def test_the_average_is_another_model_than_the_trained_one(trainings):
    content = checkpoints(trainings[1])[f"epoch_{EPOCHS}.pth"]
    key = "architecture.neck.fpn_convs.0.conv.weight"
    trained, average = content["ema_state_dict"][f"module.{key}"], content["state_dict"][key]  # MMEngine swaps them
    assert not torch.equal(trained, average)
    assert torch.equal(trainings[1].model.state_dict()[key], trained)


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_student_of_each_metric_reaches_it_alone(trainings, metric, tmp_path):
    """Without distillation or average; those that were best before are gone."""
    values = [value if metric == "score" else -value for value in scores(trainings[1])]
    best = f"best_{metric}_epoch_{values.index(max(values)) + 1}.pth"
    folder = Path(trainings[1].work_dir)
    assert [path.name for path in folder.glob(f"best_{metric}_*")] == [best]
    assert [path.name for path in folder.glob(f"student_best_{metric}_*")] == [f"student_{best}"]
    student = runner(build(retinanet()), tmp_path, load_from=str(folder / f"student_{best}"), **validation())
    assert student.val()[metric] == pytest.approx(max(values), rel=1e-6)
