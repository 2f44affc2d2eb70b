# As pcka-positions.py, for necks from P2 on: the paper's recipes use the first four outputs of either.
_base_ = "pcka-positions.py"

distiller = dict(losses=dict(pcka=dict(strides=(4, 8, 16, 32))))
