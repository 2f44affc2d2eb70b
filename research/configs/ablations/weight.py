title = "Weight of the loss, constant (Tables 11 to 13)"
paper = "The paper compares weights of the loss (in Tables 11 to 13)."
_weights = {f"{weight:g}": {"pcka.loss_weight": weight} for weight in (0.1, 1.0, 3.0, 10.0, 30.0)}
demo = {name: {**options, "balance.ratio": None} for name, options in _weights.items()}
coco = _weights
