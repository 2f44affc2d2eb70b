"""A step that is kept and repeated: the losses are the very same."""

import contextlib
import copy

import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.testing import demo_mm_inputs
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from mmrazor.engine import StopDistillHook  # noqa: F401  (registers it)

from pcka_mmdet.engine import nonfinite
from pcka_mmdet.engine.hooks.nonfinite_loss import NonFiniteLossHook
from pcka_mmdet.engine.nonfinite import replay, save_step
from pcka_mmdet.registry import OPTIM_WRAPPERS
from tests.detectors import EVERY_KIND, build, distillation, retinanet, yolox
from tests.runners import runner

STILL = dict(optimizer=dict(type="SGD", lr=0.0))
"""The weights after a step are those before it."""


@OPTIM_WRAPPERS.register_module(force=True)
class HalfWrapper(OptimWrapper):
    """Float16, by nothing that the config says: as MMEngine's wrapper on a GPU."""

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast("cpu", torch.float16):
            yield


def test_annotations_survive_as_plain_tensors():
    """Boxes, masks and ignored boxes of a sample."""
    sample = demo_mm_inputs(1, [[3, 32, 48]], num_items=[3], with_mask=True)["data_samples"][0]
    sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes([[1.0, 2.0, 3.0, 4.0]]))
    again = nonfinite._sample(nonfinite._plain_sample(sample))
    instances, expected = again.gt_instances, sample.gt_instances
    assert torch.equal(instances.bboxes.tensor, expected.bboxes) and len(expected) == 3
    assert torch.equal(instances.labels, expected.labels)
    assert (instances.masks.masks == expected.masks.masks).all() and expected.masks.masks.any()
    assert again.ignored_instances.bboxes.tensor.tolist() == [[1, 2, 3, 4]]
    assert again.img_shape == sample.img_shape


class KeepHook(Hook):
    """Keeps one step of a model though its losses are finite."""

    priority = "VERY_LOW"

    def __init__(self, model):
        self.model = model

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 3:
            hook = next(hook for hook in runner.hooks if isinstance(hook, NonFiniteLossHook))
            runner.model._nonfinite = "as this test says"
            runner.cfg.model = self.model  # now, as formatting a config takes a second
            self.path = save_step(runner, hook.failed_step(runner))
            runner.model._nonfinite = None
            self.losses = {name: value.item() for name, value in outputs.items()}


def test_a_file_that_is_no_step(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / "epoch_1.pth")
    with pytest.raises(ValueError, match="epoch_1.pth' is no saved step: give a file of WORK_DIR/nonfinite"):
        replay(str(tmp_path / "epoch_1.pth"))


CASES = {
    "bf16, half way of a ramp": (
        dict(STILL, type="pcka_mmdet.CpuAmpOptimWrapper"),
        dict(type="pcka_mmdet.LossScheduleHook", ramp=6),
    ),
    "fp16, distillation stopped": (
        dict(STILL, type="pcka_mmdet.HalfWrapper"),
        dict(type="mmrazor.StopDistillHook", stop_epoch=1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_losses_are_those_of_the_training(name, tmp_path):
    teacher = build(retinanet(width=12))
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    model = distillation(teacher_ckpt=str(tmp_path / "teacher.pth"), balance=dict(ratio=0.5))
    model["distiller"]["losses"].update(copy.deepcopy(EVERY_KIND))
    wrapper, schedule = CASES[name]
    keep = KeepHook(model)
    hooks = [dict(type="pcka_mmdet.NonFiniteLossHook"), schedule, keep]
    runner(model, tmp_path, 2, optim_wrapper=wrapper, custom_hooks=hooks, default_hooks=dict(checkpoint=None)).train()
    again = replay(str(keep.path))
    # the text of a config has its keys sorted, so the sum is taken in another order
    assert again.losses.pop("loss") == pytest.approx(keep.losses.pop("loss"), rel=1e-6)
    kept = [{n: v for n, v in losses.items() if "balance" not in n} for losses in (again.losses, keep.losses)]
    assert kept[0] == kept[1]  # the balance has taken this step into its averages
    assert again.problem is None and again.weights == []
    distilled = again.losses["distill.loss_mimic"]
    assert distilled == 0 if "stopped" in name else distilled > 0


def test_images_of_the_size_that_a_batch_augmentation_drew(tmp_path):
    """YOLOX draws a size for the next steps, and scales the boxes of the batch in place."""
    student = yolox()
    resize = dict(type="BatchSyncRandomResize", random_size_range=(64, 256), interval=1)
    student["data_preprocessor"] = dict(student["data_preprocessor"], batch_augments=[resize])
    model = distillation(architecture=student)
    keep = KeepHook(model)
    hooks = [dict(type="pcka_mmdet.NonFiniteLossHook"), keep]
    runner(model, tmp_path, 2, optim_wrapper=STILL, custom_hooks=hooks, default_hooks=dict(checkpoint=None)).train()
    again = replay(str(keep.path))
    for name in ("student.loss_obj", "student.loss_bbox"):
        assert again.losses[name] == keep.losses[name] != 0


def test_a_preprocessor_at_the_top_of_the_config(tmp_path):
    """The Runner hands it to the model."""
    model = distillation()
    keep, options = KeepHook(model), dict(optim_wrapper=STILL, default_hooks=dict(checkpoint=None))
    options["data_preprocessor"] = model["architecture"].pop("data_preprocessor")
    hooks = [dict(type="pcka_mmdet.NonFiniteLossHook"), keep]
    runner(model, tmp_path, 2, custom_hooks=hooks, **options).train()
    assert replay(str(keep.path)).losses["student.loss_cls"] == keep.losses["student.loss_cls"]


def test_the_teacher_that_taught_then_teaches_again(tmp_path):
    """Of several, one after another: a process that replays the step has no training's progress."""
    model = distillation(teachers=[retinanet(), dict(retinanet(width=12), ckpt="random")])
    for entry, times in zip(model["teachers"], (dict(until=0.4), dict(since=0.4)), strict=True):
        entry.update(ckpt="random", **times)
    del model["teacher"], model["teacher_ckpt"]
    keep = KeepHook(model)
    hooks = [dict(type="pcka_mmdet.NonFiniteLossHook"), keep]
    runner(model, tmp_path, 2, optim_wrapper=STILL, custom_hooks=hooks, default_hooks=dict(checkpoint=None)).train()
    MessageHub.get_current_instance().update_info("iter", 0)
    losses = replay(str(keep.path)).losses
    assert losses["distill.loss_mimic"] == keep.losses["distill.loss_mimic"] == 0
    assert losses["distill.loss_mimic_2"] > 0 and keep.losses["distill.loss_mimic_2"] > 0
