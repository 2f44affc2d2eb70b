"""Images in the teacher's normalisation."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseDataPreprocessor, BaseModel, ImgDataPreprocessor
from torch import nn

from pcka_mmdet.models.attempts import OutOfMemoryError
from pcka_mmdet.models.teacher.images import Normalisation, renormalise, size_divisor


class ClsDataPreprocessor(BaseDataPreprocessor):
    """Is called as MMPretrain's, by which a classifier is known."""


class Model(BaseModel):
    """Takes images of one size."""

    def __init__(self, side: int, preprocessor: nn.Module):
        super().__init__(preprocessor)
        self.side = side
        self.layer = nn.Conv2d(1, 1, 1)

    def extract_feat(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[2] == self.side
        return images

    def forward(self, *_):
        raise NotImplementedError


def test_a_sample_without_img_shape_says_what_to_add():
    source, target = (Normalisation((mean,) * 3, (1.0,) * 3, False, 0.0) for mean in (0.0, 9.0))
    sample = DetDataSample(metainfo=dict(img_id=1))
    with pytest.raises(ValueError, match=r"no 'img_shape'.*it has \['img_id'\]: add 'img_shape' to the meta_keys of"):
        renormalise(torch.zeros(1, 3, 8, 8), [sample], source, target)


def test_a_classifiers_images_are_not_padded():
    """The samples of MMPretrain's torchvision transforms have the file's size, or none."""
    source, target = (Normalisation((mean,) * 3, (1.0,) * 3, False, 0.0, pads=False) for mean in (0.0, 9.0))
    for size in (dict(img_shape=(4, 4)), {}):
        images = renormalise(torch.zeros(1, 3, 8, 8), [DetDataSample(metainfo=size)], source, target)
        assert (images == -9).all()
    assert source == Normalisation(source.mean, source.std, False, 0.0, pads=True)


def test_grey_images_are_normalised_too():
    source, target = (Normalisation.of(ImgDataPreprocessor([mean], [std])) for mean, std in ((10.0, 2.0), (30.0, 4.0)))
    pixels = torch.rand(1, 1, 8, 8) * 255
    sample = DetDataSample(metainfo=dict(img_shape=(8, 8)))
    images = renormalise((pixels - 10) / 2, [sample], source, target)
    torch.testing.assert_close(images, (pixels - 30) / 4, rtol=0, atol=1e-4)


def test_a_classifiers_images_keep_their_size():
    """It may take one size alone, and grey images."""
    assert size_divisor(Model(28, ClsDataPreprocessor())) == 1


@pytest.mark.parametrize(("side", "divisor"), [(328, 1), (320, 64), (28, 32)])
def test_the_divisor_is_the_first_whose_image_a_detector_takes(side, divisor):
    assert size_divisor(Model(side, BaseDataPreprocessor())) == divisor


def test_memory_that_ends_says_nothing_about_the_divisor(monkeypatch):
    model = Model(328, BaseDataPreprocessor())
    monkeypatch.setattr(model, "extract_feat", raise_out_of_memory)
    with pytest.raises(OutOfMemoryError):
        size_divisor(model)


def raise_out_of_memory(images: torch.Tensor) -> None:
    raise OutOfMemoryError
