"""Steps of classifiers on a simulated accelerator; detectors are in `tests/integration/test_simulated_device.py`."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

pytest.importorskip("mmpretrain", reason="MMPretrain is not in this environment: make classification")

from tests.classification.test_configs import batch
from tests.device_steps import check
from tests.simulated_device import needs_simulation

pytestmark = needs_simulation


DEEP = pytest.param("pcka_resnet110_resnet20_cifar100", marks=pytest.mark.full)


@pytest.mark.parametrize("name", ["rcka_vgg13_vgg8_cifar100", DEEP])
def test_a_step_has_the_cpus_losses_and_gradients_and_does_not_wait(name):
    init_default_scope("mmpretrain")
    model = Config.fromfile(Path("configs/classification/cifar100") / f"{name}.py").model
    model.teacher_ckpt = "random"
    check(model, batch=lambda: batch(32, classes=100))
