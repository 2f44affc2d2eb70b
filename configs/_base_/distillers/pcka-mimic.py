# Like pcka.py, with the auxiliary mimic loss of DIST on all levels that both necks have.
_base_ = "pcka.py"

distiller = dict(losses=dict(mimic=dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0)))
