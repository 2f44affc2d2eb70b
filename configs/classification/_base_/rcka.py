# RCKA: CKA of the samples of a batch, of the pooled features and of the logits; for the logits also of the classes.
# Balanced: with constant weights of 1 the student of research/configs/digit_classification learned nothing for 40
# of 60 epochs (with ten labels of each class, one run).
# The samples are those of all processes: on 8 GPUs 256 in place of 32.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(
        features=dict(type="pcka_mmdet.RCKALoss", source="neck", loss_weight=1.0, gather=True),
        logits=dict(type="pcka_mmdet.RCKALoss", loss_weight=1.0, class_weight=1.0, gather=True),
    ),
)
balance = dict(ratio=1.0)
