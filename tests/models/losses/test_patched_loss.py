"""PatchedLoss: the losses of the paper's Table 7 on patches, and those that patches do not change."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcka_mmdet.functional import extract_patches
from pcka_mmdet.models import PatchedLoss
from pcka_mmdet.registry import MODELS

KL, DIST, ATTENTION, PKD, CHANNELS, L2 = (
    dict(type=f"mmrazor.{name}")
    for name in ("KLDivergence", "DISTLoss", "ATLoss", "PKDLoss", "ChannelWiseDivergence", "L2Loss")
)
MIMIC, RCKA = dict(type="pcka_mmdet.MimicLoss"), dict(type="pcka_mmdet.RCKALoss")
ACTIVATION = dict(type="mmrazor.ActivationLoss")


def maps(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 8, 12, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("average", ["channel", "batch", "spatial"])
def test_dist_on_rows_is_dist_of_each_group(average):
    student, teacher = maps(0).requires_grad_(), maps(1).requires_grad_()
    loss = PatchedLoss(DIST, layout="rows", patch_size=4, average=average)(student, teacher)
    plain, groups = MODELS.build(DIST), [extract_patches(side, 4, average) for side in (student, teacher)]
    expected = sum(plain(x, y) for x, y in zip(*groups, strict=True)) / len(groups[0])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert student.grad.any() and teacher.grad is None


@pytest.mark.parametrize("config, layout", [(DIST, "rows"), (ATTENTION, "maps")], ids=["rows", "maps"])
def test_the_similarity_is_the_cosine_of_the_patches(config, layout):
    loss, student, teacher = PatchedLoss(config, layout=layout, patch_size=4), maps(0), maps(1)
    loss(student, teacher)
    cosine = (student * teacher).sum() / student.norm() / teacher.norm()  # patches: the maps in another order
    torch.testing.assert_close(loss.metrics(), {"similarity.patched": cosine})


def test_kl_divergence_on_rows_takes_a_patch_for_a_sample():
    loss = PatchedLoss(dict(KL, tau=2.0), patch_size=4)(maps(0), maps(1))
    x, y = (extract_patches(side, 4).flatten(0, 1) / 2.0 for side in (maps(0), maps(1)))
    expected = 4.0 * F.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean")
    torch.testing.assert_close(loss, expected)


def cells(side: torch.Tensor) -> list[torch.Tensor]:
    """(B, C, 8, 12) -> 6 patches (B, C, 4, 4)."""
    return [side[:, :, y : y + 4, x : x + 4] for y in (0, 4) for x in (0, 4, 8)]


def patches_as_images(side: torch.Tensor, average: str) -> torch.Tensor:
    """(B, C, 8, 12) -> groups of 6 patches: (B, 6, C, 4, 4) or (C, 6, B, 4, 4)."""
    return torch.stack(cells(side if average == "batch" else side.transpose(0, 1)), 1)


@pytest.mark.parametrize("average", ["channel", "batch"])
@pytest.mark.parametrize("config", [ATTENTION, CHANNELS], ids=lambda config: config["type"])
def test_losses_of_maps_take_a_patch_for_an_image(config, average):
    loss = PatchedLoss(config, layout="maps", patch_size=4, average=average)(maps(0), maps(1))
    plain, groups = MODELS.build(config), [patches_as_images(side, average) for side in (maps(0), maps(1))]
    expected = sum(plain(x, y) for x, y in zip(*groups, strict=True)) / len(groups[0])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("config, layout", [(KL, "rows"), (DIST, "rows"), (ATTENTION, "maps"), (CHANNELS, "maps")])
@pytest.mark.parametrize("average", ["channel", "batch"])
def test_the_order_of_the_patches_does_not_matter(config, layout, average):
    loss = PatchedLoss(config, layout=layout, patch_size=4, average=average)
    actual = loss(*(torch.cat(cells(side)[::-1], 3) for side in (maps(0), maps(1))))
    torch.testing.assert_close(actual, loss(maps(0), maps(1)))


def test_dist_on_rows_takes_any_scale_and_offset_of_a_patch():
    """Between the classes, it correlates the features of a patch; within them, the patches (left out here)."""
    loss = PatchedLoss(dict(DIST, intra_loss_weight=0.0), layout="rows", patch_size=4, average="batch")
    generator = torch.Generator().manual_seed(2)
    logits = maps(0)
    shift = torch.randn(2, 1, 2, 3, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(loss(logits + shift, maps(1)), loss(logits, maps(1)))  # its softmax takes no offset


@pytest.mark.parametrize("config, layout", [(KL, "rows"), (DIST, "rows"), (ATTENTION, "maps"), (CHANNELS, "maps")])
def test_the_gradient_is_that_of_the_value(config, layout):
    loss = PatchedLoss(config, layout=layout, patch_size=2, average="batch")
    student, teacher = (maps(seed)[:, :, :4, :6].double() for seed in (0, 1))
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda student: loss(student, teacher), student)


@pytest.mark.parametrize(
    "config, options, message",
    [
        (PKD, dict(layout="maps", average="batch"), "patches do not change mmrazor.PKDLoss with layout='maps'"),
        (PKD, dict(layout="maps"), "patches do not change mmrazor.PKDLoss .* Use the loss without PatchedLoss"),
        (MIMIC, dict(layout="rows"), "patches do not change pcka_mmdet.MimicLoss"),
        (dict(L2, normalize=False), dict(layout="maps"), "patches do not change mmrazor.L2Loss"),
        (KL, dict(layout="maps", average="batch"), "patches do not change mmrazor.KLDivergence"),
        (ATTENTION, dict(layout="rows"), "mmrazor.ATLoss is constant on patches of side 4 with layout='rows'"),
        (PKD, dict(layout="rows"), "mmrazor.PKDLoss does not take patches as rows .*: write layout='maps'"),
        (RCKA, dict(layout="rows"), "pcka_mmdet.RCKALoss does not take patches as rows .* or use the loss without"),
        (ACTIVATION, dict(layout="maps"), "mmrazor.ActivationLoss does not take patches as maps .*: write layout='row"),
        (DIST, dict(layout="maps", average="spatial"), "average='spatial' leaves no map: write layout='rows'"),
        (DIST, dict(layout="image"), "layout must be 'rows' or 'maps', got 'image'"),
        (DIST, dict(average="mean"), "average must be one of"),
    ],
)
def test_options_that_are_refused(config, options, message):
    with pytest.raises(ValueError, match=message):
        PatchedLoss(config, patch_size=4, **options)


@MODELS.register_module()
class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


def test_a_loss_with_parameters_is_refused():
    with pytest.raises(ValueError, match="Weighted has parameters, which the groups of patches cannot share"):
        PatchedLoss(dict(type=Weighted))


def test_what_the_distiller_asks():
    loss = PatchedLoss(dict(CHANNELS, loss_weight=1.5), 2.0, "maps", patch_size="auto", average="batch")
    assert loss.needs_connector(3, 5) and not loss.needs_connector(3, 3)
    assert loss.describe((16, 16)) == "weight 3, mmrazor.ChannelWiseDivergence on maps, 64 patches of 2"
    assert loss.problem((1, 1)) and loss.active
    assert loss.problem((16, 16)) is None
    assert "a map of 8x8 has patches of side 1, and layout='maps' needs at least 2" in loss.problem((8, 8))
    assert PatchedLoss(DIST, patch_size="auto").problem((8, 8)) is None
    assert not PatchedLoss(dict(DIST, loss_weight=0.0), patch_size=2).active
    double, single = PatchedLoss(DIST, 2.0, patch_size=2), PatchedLoss(DIST, patch_size=2)
    torch.testing.assert_close(double(maps(0), maps(1)), 2 * single(maps(0), maps(1)))
    assert not PatchedLoss(DIST, 0.0, patch_size=2).active


def test_half_maps_of_another_distiller():
    """FPNDistiller gives maps in float32; squares over 300 positions overflow float16."""
    student, teacher = (100 * torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    loss = PatchedLoss(ATTENTION, patch_size=20, layout="maps", average="batch")
    actual, expected = loss(student.half(), teacher), loss(student.half().float(), teacher)
    assert actual.dtype == torch.float32 and torch.isfinite(actual)
    torch.testing.assert_close(actual, expected)
