"""The host's work in a step of a distillation besides the computing: `python -m research.costs.host --against FOLDER`.

It is that of hooks, recorder, teacher and balance, in Python's calls and torch's operators a step. Other load on the
machine does not change these. Milliseconds would be differences of large numbers, below their noise. MMEngine's runner
trains tiny detectors of random weights.
From a step of the distillation a step of the student alone, the teacher's backbone and neck, and the losses are
subtracted. `FOLDER` is a checkout to compare with; it is measured too.
"""

import argparse
import cProfile
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmdet.testing import demo_mm_inputs
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils._python_dispatch import TorchDispatchMode

from pcka_mmdet.configuration.detector import model_config

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12
FIRST = 4
"""Steps before it are not counted: the teacher is optimised in them."""

AMP = dict(type="pcka_mmdet.CpuAmpOptimWrapper", optimizer=dict(type="SGD", lr=1e-6))
CASES = {
    "fp32, constant weights": (dict(ratio=None), None),
    "fp32, balanced": (dict(ratio=1.0), None),
    "bf16, balanced": (dict(ratio=1.0), AMP),
}
HOOKS = ("NonFiniteLossHook", "SimilarityHook", "BalanceAdviceHook", "SeparateClippingHook")


class Images(BaseDataset):
    """Random images with boxes, in memory."""

    def __init__(self, steps: int):
        self.steps = steps
        self.item = demo_mm_inputs(1, [(3, 64, 64)], num_items=[2], num_classes=2)
        self._metainfo = dict(classes=("a", "b"))

    def full_init(self) -> None:
        """Nothing is left to load."""

    def __len__(self) -> int:
        return 2 * self.steps

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=self.item["inputs"][0], data_samples=self.item["data_samples"][0].clone())


class Operators(TorchDispatchMode):
    """Counts torch's operators, the backward pass's included."""

    count = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.count += 1
        return operator(*args, **(kwargs or {}))


class StepStart(Hook):
    """Calls a function at the start of each step from `FIRST` on."""

    priority = "HIGHEST"

    def __init__(self, call: Callable[[], Any]):
        self.call = call

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.iter >= FIRST:
            self.call()


def costs(run: Callable[[Callable[[], Any], int], Any]) -> dict[str, float]:
    """Calls and operators a step.

    Args:
        run: Takes a number of steps, and calls its first argument at the start of each step that counts.
    """
    profile, operators = cProfile.Profile(), Operators()
    counted: list[int] = []
    run(profile.enable, STEPS)
    profile.disable()
    calls = sum(entry.callcount for entry in profile.getstats())
    with operators:
        run(lambda: counted.append(operators.count), STEPS)
    steps = STEPS - FIRST
    return dict(calls=calls / steps, operators=(operators.count - counted[0]) / steps)


def detector(width: int, **preprocessing: Any) -> dict[str, Any]:
    """A tiny RetinaNet."""
    model = model_config("mmdet::retinanet/retinanet_r18_fpn_1x_coco.py")
    model.backbone.update(base_channels=width, stem_channels=width, init_cfg=None, frozen_stages=-1)
    model.neck.update(in_channels=[width * 2**i for i in range(4)], out_channels=16)
    model.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=2)
    model.data_preprocessor.update(preprocessing)
    return model


def train(model: dict, wrapper: dict | None, hooks: tuple[str, ...], call: Callable[[], Any], steps: int) -> Runner:
    """Train, and call a function at the start of each step from `FIRST` on."""
    sampler = dict(type="DefaultSampler")
    loader = dict(dataset=Images(steps), batch_size=2, sampler=sampler, num_workers=0)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=model,
            work_dir=folder,
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=wrapper or dict(optimizer=dict(type="SGD", lr=1e-6)),
            default_scope="mmdet",
            randomness=dict(seed=0),
            log_level="ERROR",
            experiment_name=str(time.time()),
            default_hooks=dict(checkpoint=None, logger=dict(type="LoggerHook", interval=1000)),
            custom_hooks=[*(dict(type=f"pcka_mmdet.{name}") for name in hooks), StepStart(call)],
        )
        runner.train()
    return runner


def added(balance: dict, wrapper: dict | None) -> dict[str, float]:
    """What a distillation adds to a step besides student, teacher and losses."""
    losses = dict(mimic=dict(type="pcka_mmdet.MimicLoss"))
    distillation = dict(
        type="pcka_mmdet.FPNDistill",
        architecture=detector(8),
        teacher=detector(12, mean=[103.5, 116.3, 123.7], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
        teacher_ckpt="random",
        distiller=dict(type="pcka_mmdet.FPNDistiller", losses=losses),
        balance=balance,
    )
    whole = costs(lambda call, steps: train(distillation, wrapper, HOOKS, call, steps))
    student = costs(lambda call, steps: train(detector(8), wrapper, (), call, steps))
    model = train(distillation, None, (), lambda: None, FIRST).model
    images = torch.randn(2, 3, 64, 64)
    maps = model.student.extract_feat(images)
    sides = [[level.detach().requires_grad_(own) for level in maps] for own in (True, False)]

    def teacher_and_losses(call: Callable[[], Any], steps: int) -> None:
        for step in range(steps):
            if step >= FIRST:
                call()
            with torch.no_grad():
                model.teacher.extract_feat(images)
            pairs = zip(model.distiller.all_terms, *sides, strict=True)
            sum(term.loss(*pair, None) for term, *pair in pairs).backward()

    computing = costs(teacher_and_losses)
    return {key: whole[key] - student[key] - computing[key] for key in whole}


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """The costs of a checkout, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    output = subprocess.run(
        [sys.executable, __file__, "--one"], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required="--one" not in sys.argv, help="a checkout to compare with")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/host.json"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps({name: added(*case) for name, case in CASES.items()}))
        return
    measured = [measure(folder) for folder in (args.against.resolve(), ROOT)]
    results: dict[str, dict[str, dict[str, float]]] = {}
    for case in CASES:
        for key in ("calls", "operators"):
            before, now = (checkout[case][key] for checkout in measured)
            results.setdefault(case, {})[key] = dict(before=before, now=now, ratio=now / before)
            print(f"{case}: {key} {before:.4g} -> {now:.4g}, {now / before:.0%}")
    from .measure import save  # not in the process that measures another checkout

    save(args, added=results)


if __name__ == "__main__":
    main()
