"""The null test with a teacher that runs: losses are computed, none has a gradient, and the student is bit-equal."""

import copy
import random

import numpy as np
import pytest
import torch

from pcka_mmdet.engine.runner import random_state
from pcka_mmdet.models import MimicLoss, PCKALoss, QueryLoss
from pcka_mmdet.models.queries import QueryOutputs
from pcka_mmdet.registry import MODELS
from tests.detectors import build, distillation, retinanet
from tests.detr import deformable_detr
from tests.runners import RandomScenes, runner


@MODELS.register_module(force=True)
class CutPCKALoss(PCKALoss):
    """Its gradient ends at the student's map."""

    def forward(self, student, *others):
        return super().forward(student.detach(), *others)


@MODELS.register_module(force=True)
class CutMimicLoss(MimicLoss):
    """Likewise; so the connectors learn nothing either."""

    def forward(self, student, *others):
        return super().forward(student.detach(), *others)


@MODELS.register_module(force=True)
class CutQueryLoss(QueryLoss):
    """Likewise."""

    def forward(self, student, *others):
        return super().forward([QueryOutputs(*(part.detach() for part in layer)) for layer in student], *others)


class AugmentedScenes(RandomScenes):
    """Images that depend on the states of Python's, NumPy's and torch's generators."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        factor = random.random() * np.random.rand() * torch.rand(())
        return dict(item, inputs=item["inputs"].float() * factor)


def swin():
    """A RetinaNet with dropout, DropPath and layer norms."""
    backbone = dict(type="SwinTransformer", embed_dims=8, depths=(2, 1, 1, 1), num_heads=(1, 1, 1, 1), window_size=2)
    return dict(retinanet(), backbone=dict(backbone, drop_rate=0.1, attn_drop_rate=0.1, drop_path_rate=0.5))


RAW = dict(mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=False, pad_size_divisor=64)
"""Another normalisation and padding than the student's."""

AMP = dict(type="pcka_mmdet.CpuAmpOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3))

CASES = {
    "batch norms, teacher of another normalisation": (retinanet(), retinanet(channels=24, width=12, **RAW), {}),
    "dropout and DropPath on both sides": (swin(), swin(), {}),
    "dropout, bf16": (swin(), retinanet(width=12, **RAW), dict(optim_wrapper=AMP)),
    "DETR, whose decoder has dropout": (deformable_detr(), deformable_detr(channels=24), {}),
}
MAPS = dict(
    pcka=dict(type="pcka_mmdet.CutPCKALoss", patch_size=2, strides=(8, 16)),
    mimic=dict(type="pcka_mmdet.CutMimicLoss"),
)
QUERIES = dict(queries=dict(type="pcka_mmdet.CutQueryLoss", general=3))


def flags():
    """What a library may set for the whole process."""
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.mkldnn.enabled,
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_cache_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
    )


def trained(model, work_dir, options):
    """State of the student and of its average, and of all that a process shares, after an epoch."""
    loader = dict(dataset=AugmentedScenes(), batch_size=2, sampler=dict(type="DefaultSampler", shuffle=True))
    hooks = [dict(type="EMAHook", momentum=0.5)]
    options = dict(options, train_dataloader=dict(loader, num_workers=0), custom_hooks=hooks)
    run = runner(copy.deepcopy(model), work_dir, **options)  # building a DETR changes its config
    formats = []
    student = getattr(run.model, "architecture", run.model)
    student.backbone.register_forward_pre_hook(lambda module, inputs: formats.append(inputs[0].stride()))
    run.train()
    average = next(hook for hook in run.hooks if type(hook).__name__ == "EMAHook").ema_model.module
    weights = {
        f"{name} {key}": value
        for name, state in (("student", student), ("average", getattr(average, "architecture", average)))
        for key, value in state.state_dict().items()
    }
    generators = {name: state.tolist() if name == "torch" else state for name, state in random_state().items()}
    return run, weights, (generators, flags(), formats)


@pytest.mark.parametrize("case", CASES)
def test_a_teacher_that_runs_leaves_no_trace(case, tmp_path):
    student, teacher, options = CASES[case]
    is_detr = "decoder" in student
    model = distillation(architecture=student, teacher=teacher)
    model["distiller"]["losses"] = QUERIES if is_detr else MAPS
    if is_detr:  # "random" leaves parameters of a DETR as memory happened to be
        model["teacher_ckpt"] = str(tmp_path / "teacher.pth")
        torch.save(dict(state_dict=build(teacher).state_dict()), model["teacher_ckpt"])
    _, expected, shared = trained(student, tmp_path / "alone", options)
    run, weights, shared_after = trained(model, tmp_path / "distilled", options)
    for name in ("queries",) if is_detr else ("pcka_s8", "mimic_s8", "mimic_s64"):
        values = run.message_hub.log_scalars[f"train/distill.loss_{name}"].data[0]
        assert len(values) == 3 and (values > 0).all()
    assert weights.keys() == expected.keys() and len(weights) > 100
    for key, value in weights.items():
        assert torch.equal(value, expected[key]), key
    assert shared_after == shared
