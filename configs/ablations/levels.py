title = "Number of levels, from the finest (Tables 11 to 13)"
demo = {str(n): {"pcka.strides": (8, 16, 32, 64)[:n]} for n in (1, 2, 3, 4)}
coco = demo
