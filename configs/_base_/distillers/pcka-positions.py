# Like pcka.py, with a second term whose Gram matrices compare the positions within a patch, at the same weight.
_base_ = "pcka.py"

distiller = dict(losses=dict(pcka=dict(position_weight=10.0)))
