title = "Estimator of CKA"
paper = "The paper's released code does not centre."
_centerings = ("none", "center", "debias")
demo = {centering: {"pcka.centering": centering} for centering in _centerings}
against = dict(center="none", debias="none")
coco = {c: {"pcka.centering": c, "pcka.strides": (8, 16, 32), "balance.ratio": 1.0} for c in _centerings}
