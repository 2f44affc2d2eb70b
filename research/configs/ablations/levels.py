title = "Number of levels, from the finest (Tables 11 to 13)"
paper = "The paper compares numbers of levels (in Tables 11 to 13)."
_levels = {str(n): {"pcka.strides": (8, 16, 32, 64)[:n]} for n in (1, 2, 3, 4)}
demo = _levels
coco = {name: {**options, "balance.ratio": 1.0} for name, options in _levels.items()}
