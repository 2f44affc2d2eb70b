# PCKA as the paper's published rows had it: Gram matrices that are not centred, patches of 16, weight 10 a level, on
# the first four neck outputs of an FPN from P3 on.
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
