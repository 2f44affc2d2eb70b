"""Images in the teacher's own normalisation."""

import pytest
import torch
from mmdet.structures import DetDataSample

from pcka_mmdet.models.teacher.images import Normalisation, renormalise


def test_a_sample_without_img_shape_says_what_to_add():
    one, other = (Normalisation((mean,) * 3, (1.0,) * 3, False, 0.0) for mean in (0.0, 9.0))
    sample = DetDataSample(metainfo=dict(img_id=1))
    with pytest.raises(ValueError, match=r"no 'img_shape'.*it has \['img_id'\]: add 'img_shape' to the meta_keys of"):
        renormalise(torch.zeros(1, 3, 8, 8), [sample], one, other)


def test_a_classifiers_images_are_not_padded():
    """The samples of MMPretrain's torchvision transforms have the file's size, or none."""
    one, other = (Normalisation((mean,) * 3, (1.0,) * 3, False, 0.0, pads=False) for mean in (0.0, 9.0))
    for size in (dict(img_shape=(4, 4)), {}):
        found = renormalise(torch.zeros(1, 3, 8, 8), [DetDataSample(metainfo=size)], one, other)
        assert (found == -9).all()
    assert one == Normalisation(one.mean, one.std, False, 0.0, pads=True)
