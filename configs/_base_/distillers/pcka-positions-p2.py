# Like pcka-positions.py, for necks that start at P2: the paper's recipes use the first four outputs of any neck.
_base_ = "pcka-positions.py"

distiller = dict(losses=dict(pcka=dict(strides=(4, 8, 16, 32))))
