title = "Patches or whole maps, and the side of the patches"
paper = "The paper shows training curves with patches and without."
# on the demo's maps of 16x16 and 8x8 positions; whole maps are compared by RCKA over the images of a batch
_rcka = dict(type="pcka_mmdet.RCKALoss", source="neck", strides=(8, 16))
demo = {
    "whole maps": {"losses": dict(rcka=_rcka)},
    "patches of 2 and 1": {},  # the finer level's, the coarser's
    **{f"patches of {side}": {"pcka.patch_size": {8: side, 16: side}} for side in (1, 2, 4)},
}
against = {name: "whole maps" for name in demo if name != "whole maps"}
coco = {  # the images of a step differ in size, so RCKA compares cells of a grid; it needs several processes (gather)
    "whole maps": {"losses": dict(rcka=dict(_rcka, gather=True, grid=8)), "balance.ratio": 1.0},
    **{
        f"patches of {side}": {"pcka.patch_size": side, "pcka.strides": (8, 16), "balance.ratio": 1.0}
        for side in (4, 8, 16, 32)
    },
}
