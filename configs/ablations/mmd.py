title = "MMD in place of CKA (Table 6), both balanced to the ratio 0.3"
_losses = {
    "CKA, uncentred": dict(type="pcka_mmdet.PCKALoss", centering="none"),
    "CKA, centred": dict(type="pcka_mmdet.PCKALoss", centering="center"),
    "MMD, linear": dict(type="pcka_mmdet.MMDLoss", kernel="linear"),
    "MMD, rbf": dict(type="pcka_mmdet.MMDLoss", kernel="rbf"),
}
demo = {
    name: {"losses": dict(other=dict(loss, patch_size={8: 2, 16: 1, 32: 1, 64: 1})), "balance.ratio": 0.3}
    for name, loss in _losses.items()
}
coco = {
    name: {"losses": dict(other=dict(loss, patch_size=16, strides=(8, 16, 32, 64))), "balance.ratio": 0.3}
    for name, loss in _losses.items()
}
