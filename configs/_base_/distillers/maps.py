# A recipe of our own for a teacher of other classes, or with a head whose outputs are not known: centred CKA on all
# levels that both necks have, with about 64 patches each. The gradient has a fifth of the norm of the task's.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(pcka=dict(type="pcka_mmdet.PCKALoss", patch_size="auto", centering="center")),
)
balance = dict(ratio=0.2)
