title = "What the mean over groups of patches is taken over (Table 5)"
paper = "The paper finds the mean over channels best (Table 5)."
_averages = ("channel", "batch", "spatial")
demo = {average: {"pcka.average": average} for average in _averages}
against = dict(batch="channel", spatial="channel")
coco = {a: {"pcka.average": a, "pcka.strides": (8, 16, 32), "balance.ratio": 1.0} for a in _averages}
