# A recipe of our own: centred CKA and the mimic loss on all levels that both necks have. At strides up to 64 a patch
# spans 64x64 pixels, so each of these levels has the same number of patches, and enough of them on small images too.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(
        pcka=dict(
            type="pcka_mmdet.PCKALoss",
            loss_weight=10.0,
            patch_size={4: 16, 8: 8, 16: 4, 32: 2, 64: 1, 128: 1},
            average="channel",
            centering="center",
        ),
        mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0),
    ),
)
