# DIST (Huang et al. 2022): correlation of the logits' softmax, over classes and over samples. The weight was chosen as
# in kd.py.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(
        logits=dict(
            type="mmrazor.DISTLoss",
            source="logits",
            tau=4,
            inter_loss_weight=1.0,
            intra_loss_weight=1.0,
            loss_weight=3.0,
        )
    ),
)
