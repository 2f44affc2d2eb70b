# RCKA: CKA of the samples of a batch, of the pooled features and of the logits; for the logits also of the classes.
# Balanced: with constant weights of 1 the student of configs/classification/digits learns nothing for 40 epochs.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(
        features=dict(type="pcka_mmdet.RCKALoss", source="neck", loss_weight=1.0),
        logits=dict(type="pcka_mmdet.RCKALoss", loss_weight=1.0, class_weight=1.0),
    ),
)
balance = dict(ratio=1.0)
