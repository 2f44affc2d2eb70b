# PCKA for classifiers: patches of the last stage's maps.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(pcka=dict(type="pcka_mmdet.PCKALoss", source="backbone", patch_size=2, centering="center")),
)
balance = dict(ratio=0.2)
