title = "Other losses on whole maps and on patches (Table 7)"
paper = "The paper compares other losses with patches and without (Table 7)."
note = """Patches change neither L2 nor PKD, so `PatchedLoss` refuses them, and they have no second row.
KL divergence and DIST change in one more way: on whole maps their softmax is over the channels of a position, and
on patches over the features of a patch."""
_whole = {
    "L2": dict(type="mmrazor.L2Loss", normalize=False),
    "KL divergence": dict(type="mmrazor.KLDivergence", tau=1),
    "attention transfer": dict(type="mmrazor.ATLoss", loss_weight=1.0),
    "DIST": dict(type="mmrazor.DISTLoss", tau=1.0),
    "PKD": dict(type="mmrazor.PKDLoss", loss_weight=1.0),
    "channel-wise": dict(type="mmrazor.ChannelWiseDivergence", tau=1, loss_weight=1.0),
}
_layouts = {
    "KL divergence": dict(layout="rows"),
    "DIST": dict(layout="rows"),
    "attention transfer": dict(layout="maps", average="batch"),
    "channel-wise": dict(layout="maps", average="batch"),
}


def _variants(losses, patch_size, balance):
    whole = {name: dict(loss, strides=(8, 16)) for name, loss in losses.items()}
    patched = {
        f"{name}, patched": dict(
            type="pcka_mmdet.PatchedLoss", loss=losses[name], patch_size=patch_size, strides=(8, 16), **layout
        )
        for name, layout in _layouts.items()
    }
    return {name: {"losses": dict(other=loss), **balance} for name, loss in (whole | patched).items()}


demo = _variants(_whole, {8: 4, 16: 2}, {})
against = {f"{name}, patched": name for name in _layouts}
# within a class, DIST correlates the images of a batch: 2 of them say nothing
coco = _variants({**_whole, "DIST": dict(_whole["DIST"], intra_loss_weight=0.0)}, 16, {"balance.ratio": 1.0})
