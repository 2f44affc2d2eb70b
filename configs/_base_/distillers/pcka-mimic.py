# The paper's headline rows: PCKA and the mimic loss, whose 1x1 convolutions sit on all levels.
_base_ = "pcka.py"

distiller = dict(losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0)))
