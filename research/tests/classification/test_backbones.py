"""The backbones of CIFAR classifiers: the parameters that the benchmark's models have, and their maps."""

import pytest
import torch
from torch import nn

from pcka_mmdet.registry import MODELS
from research.classification import backbones

WIDE = (32, 64, 128, 256)
CIFAR = {
    "ResNet20": (dict(type="CifarResNet", depth=20), (64, 8), 278_324),
    "ResNet32": (dict(type="CifarResNet", depth=32), (64, 8), 472_756),
    "ResNet56": (dict(type="CifarResNet", depth=56), (64, 8), 861_620),
    "ResNet110": (dict(type="CifarResNet", depth=110), (64, 8), 1_736_564),
    "ResNet8x4": (dict(type="CifarResNet", depth=8, widths=WIDE), (256, 8), 1_233_540),
    "ResNet32x4": (dict(type="CifarResNet", depth=32, widths=WIDE), (256, 8), 7_433_860),
    "WRN-16-2": (dict(type="CifarWideResNet", depth=16, factor=2), (128, 8), 703_284),
    "WRN-40-1": (dict(type="CifarWideResNet", depth=40, factor=1), (64, 8), 569_780),
    "WRN-40-2": (dict(type="CifarWideResNet", depth=40, factor=2), (128, 8), 2_255_156),
    "VGG8": (dict(type="CifarVGG", depth=8), (512, 4), 3_965_028),
    "VGG13": (dict(type="CifarVGG", depth=13), (512, 4), 9_462_180),
    "MobileNetV2": (dict(type="CifarMobileNetV2"), (1280, 2), 812_836),
    "ShuffleNetV1": (dict(type="CifarShuffleNetV1"), (960, 4), 949_258),
    "ShuffleNetV2": (dict(type="CifarShuffleNetV2"), (1024, 4), 1_355_528),
}
"""Config, channels and side of the last map for 32x32 pixels, and parameters with a linear layer of 100 classes."""


def backbone(config: dict) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(config, type=f"pcka_mmdet.{config['type']}"))


def num_parameters(module: nn.Module, channels: int, classes: int) -> int:
    return sum(p.numel() for p in module.parameters()) + (channels + 1) * classes


@pytest.mark.parametrize("name", CIFAR)
def test_parameters_and_maps(name):
    config, (channels, side), parameters = CIFAR[name]
    module = backbone(config)
    assert num_parameters(module, channels, 100) == parameters
    (output,) = module(torch.randn(2, 3, 32, 32))
    assert output.shape == (2, channels, side, side)
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters() if p.dim() > 1)


def test_mobilenet_v1():
    module = backbone(dict(type="MobileNetV1", out_indices=(1, 2, 3, 4)))
    assert num_parameters(module, 1024, 1000) == 4_231_976
    shapes = [tuple(output.shape[1:]) for output in module(torch.randn(1, 3, 64, 64))]
    assert shapes == [(128, 16, 16), (256, 8, 8), (512, 4, 4), (1024, 2, 2)]


def test_stages():
    module = backbone(dict(type="CifarResNet", depth=8, out_indices=(0, -1)))
    assert [tuple(output.shape[1:]) for output in module(torch.randn(1, 3, 32, 32))] == [(16, 32, 32), (64, 8, 8)]


@pytest.mark.parametrize("name", ["ResNet20", "WRN-16-2", "VGG13", "MobileNetV2", "ShuffleNetV1", "ShuffleNetV2"])
def test_initial_weights(name):
    """Kaiming's, by the convolution's outputs; ShuffleNets keep torch's, which are uniform by its inputs."""
    module = backbone(CIFAR[name][0])
    module.init_weights()
    weights = [m.weight for m in module.modules() if isinstance(m, nn.Conv2d)]
    for weight in (weight for weight in weights if weight.numel() >= 2000):
        outputs, inputs, *side = weight.shape
        area = side[0] * side[1]
        variance = 1 / (3 * inputs * area) if "Shuffle" in name else 2 / (outputs * area)
        assert weight.var().item() == pytest.approx(variance, rel=0.15)


def test_a_shuffle_mixes_the_groups():
    channels = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert backbones.shufflenet.Shuffle(3)(channels).flatten().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(type="CifarResNet", depth=18), "CifarResNet: depth is 6 n [+] 2, .* got 18"),
        (dict(type="CifarWideResNet", depth=18, factor=2), "CifarWideResNet: depth is 6 n [+] 4, .* got 18"),
        (dict(type="CifarVGG", depth=16), r"CifarVGG: depth is one of \[8, 13\], got 16"),
    ],
)
def test_other_depths(config, message):
    with pytest.raises(ValueError, match=message):
        backbone(config)
