"""Steps of classifiers on a simulated accelerator; detectors are in `tests/integration/test_simulated_device.py`."""

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

pytest.importorskip("mmpretrain", reason="MMPretrain is not in this environment: make classification")

from tests.classifiers import batch
from tests.device_steps import check
from tests.simulated_device import needs_simulation

pytestmark = needs_simulation


def test_a_step_has_the_cpus_losses_and_gradients_and_does_not_wait():
    init_default_scope("mmpretrain")
    model = Config.fromfile("configs/classification/rcka_resnet34_resnet18_8xb32_in1k.py").model
    model.teacher_ckpt = "random"
    check(model, batch=lambda: batch(64, classes=1000))
