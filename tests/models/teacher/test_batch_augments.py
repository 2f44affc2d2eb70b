"""Images that the student's preprocessor resized or padded as a batch, as they reach a teacher."""

import copy

import pytest
import torch
from mmengine.logging import MessageHub

from tests.detectors import build, distillation, raw_batch, retinanet

SIZES = (60, 64), (64, 50)
TEACHER = dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False, pad_value=7)
MIMIC = dict(type="pcka_mmdet.FPNDistiller", losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss")))


def resize(side: int) -> dict:
    """From the second batch on: to squares of `side` pixels."""
    return dict(type="BatchSyncRandomResize", random_size_range=(side, side), interval=1)


@pytest.mark.parametrize(
    "augment, shape, border",
    [
        (resize(32), (32, 32), 0),
        (resize(96), (96, 96), 1),  # where an image grows, its last row and column are mixed with the padding beside
        (dict(type="BatchFixedSizePad", size=(96, 128), img_pad_value=5), (96, 128), 0),
    ],
    ids=["smaller", "larger", "padded"],
)
def test_a_teacher_sees_the_same_pixels_in_its_own_normalisation(augment, shape, border):
    """Its input equals what its preprocessor, with the same augmentation, makes of the raw batch."""
    MessageHub.get_instance("batch augmentations").update_info("iter", 0)
    model = build(
        distillation(
            architecture=retinanet(batch_augments=[augment]),
            teacher=retinanet(**TEACHER),
            distiller=MIMIC,
            fuse_teacher=False,
            teacher_channels_last=False,
        )
    ).train()
    preprocessor = build(retinanet(**TEACHER, batch_augments=[augment])).data_preprocessor
    seen: list[torch.Tensor] = []
    model.teacher.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for _ in range(2):
        batch = model.data_preprocessor(raw_batch(*SIZES), True)
        model(**copy.deepcopy(batch), mode="loss")
        expected = preprocessor(raw_batch(*SIZES), True)["inputs"]
    assert seen[-1].shape == expected.shape == (2, 3, *shape)
    for actual, wanted, sample in zip(seen[-1], expected, batch["data_samples"], strict=True):
        height, width = sample.img_shape
        inside = slice(None), slice(height - border), slice(width - border)
        torch.testing.assert_close(actual[inside], wanted[inside], rtol=0, atol=1e-3)  # of up to 150
        padding = actual.clone()
        padding[:, :height, :width] = TEACHER["pad_value"]
        assert (padding == TEACHER["pad_value"]).all()
    assert [sample.img_shape for sample in batch["data_samples"]] != [shape] * 2  # there was some to look at
