# PCKA as in the paper's published results: uncentred Gram matrices, patches of 16, weight 10 per level, on the first
# four neck outputs of an FPN that starts at P3.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(
        pcka=dict(
            type="pcka_mmdet.PCKALoss",
            loss_weight=10.0,
            patch_size=16,
            average="channel",
            centering="none",
            strides=(8, 16, 32, 64),
        ),
    ),
)
