"""Backbones of the usual CIFAR benchmark, and MobileNetV1: those of the paper's classifiers that MMPretrain lacks."""

from .mobilenet import CifarMobileNetV2, MobileNetV1
from .resnet import CifarResNet, CifarWideResNet
from .shufflenet import CifarShuffleNetV1, CifarShuffleNetV2
from .vgg import CifarVGG

__all__ = [
    "CifarMobileNetV2",
    "CifarResNet",
    "CifarShuffleNetV1",
    "CifarShuffleNetV2",
    "CifarVGG",
    "CifarWideResNet",
    "MobileNetV1",
]
