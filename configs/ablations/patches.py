title = "Patches or whole maps, and the side of the patches"
# on the demo's maps of 16x16, 8x8, 4x4 and 2x2 positions; whole maps are compared by RCKA over the images of a batch
_sides = {"1": {8: 1, 16: 1}, "2": {8: 2, 16: 2}, "4": {8: 4, 16: 4}, "2 and 1": {8: 2, 16: 1}}
demo = {
    "whole maps": {
        "losses": dict(other=dict(type="pcka_mmdet.RCKALoss", source="neck", loss_weight=10.0, strides=(8, 16)))
    },
    **{f"patches of {name}": {"pcka.patch_size": sides, "pcka.strides": (8, 16)} for name, sides in _sides.items()},
}
coco = {f"patches of {side}": {"pcka.patch_size": side} for side in (4, 8, 16, 32)}
