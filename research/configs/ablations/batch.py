title = "Images in a batch (Tables 11 to 13): patches, and whole images by RCKA"
paper = "The paper compares sizes of the batch (in Tables 11 to 13)."
# the epochs and the learning rate stay as they are, so that the student alone differs too: each row has its own
_rcka = dict(type="pcka_mmdet.RCKALoss", source="neck", strides=(8, 16))
_kinds = {"alone": {"pcka.loss_weight": 0.0}, "PCKA": {}, "RCKA": {"losses": dict(rcka=_rcka)}}
demo = {
    f"{n}, {kind}": ({} if n == 8 else {"train_dataloader.batch_size": n}) | options
    for n in (4, 8, 16)
    for kind, options in _kinds.items()
    if (n, kind) != (8, "alone")
}
against = {name: name.split(",")[0] + ", alone" for name in demo if name[0] != "8" and "alone" not in name}
# the images of a step differ in size, so RCKA compares cells of a grid; it needs several processes (gather)
_coco_kinds = {
    "alone": {"pcka.loss_weight": 0.0},
    "PCKA": {"pcka.strides": (8, 16)},
    "RCKA": {"losses": dict(rcka=dict(_rcka, gather=True, grid=8))},
}
coco = {
    f"{n}, {kind}": {
        "train_dataloader.batch_size": n,
        "auto_scale_lr.enable": True,
        "balance.ratio": 1.0,
        **options,
    }
    for n in (1, 2, 4)
    for kind, options in _coco_kinds.items()
}
