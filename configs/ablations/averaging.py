title = "What the mean over groups of patches is taken over (Table 5)"
demo = {average: {"pcka.average": average} for average in ("channel", "batch", "spatial")}
coco = demo
