title = "MMD in place of CKA (Table 6)"
paper = "The paper compares MMD and CKA (Table 6)."
_mmd = {f"MMD, {kernel}": dict(type="pcka_mmdet.MMDLoss", kernel=kernel) for kernel in ("linear", "rbf")}
demo = {
    "CKA, uncentred": {"pcka.centering": "none"},
    "CKA, centred": {"pcka.centering": "center"},
    **{
        name: {"losses": dict(mmd=dict(loss, patch_size={8: 2, 16: 1}, strides=(8, 16)))} for name, loss in _mmd.items()
    },
}
against = dict.fromkeys(_mmd, "CKA, uncentred")
coco = {
    "CKA, uncentred": {"pcka.strides": (8, 16, 32), "balance.ratio": 1.0},
    "CKA, centred": {"pcka.strides": (8, 16, 32), "pcka.centering": "center", "balance.ratio": 1.0},
    **{
        name: {"losses": dict(mmd=dict(loss, patch_size=16, strides=(8, 16, 32))), "balance.ratio": 1.0}
        for name, loss in _mmd.items()
    },
}
