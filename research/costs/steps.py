"""Training steps and forwards of detectors, for benchmarks."""

from collections.abc import Callable

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper


def stepper(model: BaseModel, data: dict) -> Callable[[], object]:
    """A function that runs one training step of a model: forward, backward and SGD."""
    wrapper = OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6))
    model.train()
    return lambda: model.train_step(data, wrapper)


def teacher_forward(teacher: BaseModel, images: torch.Tensor) -> Callable[[], object]:
    """A function that computes a teacher's neck maps, without gradient and without our speed-ups.

    Args:
        teacher: The detector.
        images: Normalised images `(B, 3, H, W)`.
    """
    teacher.eval()
    return torch.no_grad()(lambda: teacher.extract_feat(images))
