title = "Estimator of CKA"
demo = {centering: {"pcka.centering": centering} for centering in ("none", "center", "debias")}
coco = demo
