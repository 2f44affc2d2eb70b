title = "Other losses on whole maps and on patches (Table 7), all balanced to the ratio 0.3"
_whole = {
    "L2": dict(type="mmrazor.L2Loss", normalize=False),
    "KL divergence": dict(type="mmrazor.KLDivergence", tau=1),
    "attention transfer": dict(type="mmrazor.ATLoss", loss_weight=1.0),
    "DIST": dict(type="mmrazor.DISTLoss", tau=1.0),
    "PKD": dict(type="mmrazor.PKDLoss", loss_weight=1.0),
    "channel-wise": dict(type="mmrazor.ChannelWiseDivergence", tau=1, loss_weight=1.0),
}
_layouts = {  # PKD and L2 are not here: patches do not change them, and PatchedLoss refuses them
    "KL divergence": dict(layout="rows"),
    "attention transfer": dict(layout="maps", average="batch"),
    "DIST": dict(layout="rows"),
    "channel-wise": dict(layout="maps", average="batch"),
}
_patched = {
    f"{name}, patched": dict(type="pcka_mmdet.PatchedLoss", loss=_whole[name], **layout)
    for name, layout in _layouts.items()
}
demo = {
    name: {"losses": dict(other=dict(loss, strides=(8, 16))), "balance.ratio": 0.3} for name, loss in _whole.items()
} | {
    name: {"losses": dict(other=dict(loss, patch_size={8: 4, 16: 2}, strides=(8, 16))), "balance.ratio": 0.3}
    for name, loss in _patched.items()
}
coco = {
    name: {"losses": dict(other=dict(loss, strides=(8, 16, 32, 64))), "balance.ratio": 0.3}
    for name, loss in _whole.items()
} | {
    name: {"losses": dict(other=dict(loss, patch_size=16, strides=(8, 16))), "balance.ratio": 0.3}
    for name, loss in _patched.items()
}
