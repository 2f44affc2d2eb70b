"""Colours of the plots: Paul Tol's, which colour-blind readers can tell apart, also in print."""

METHODS = {"teacher": "#7f7f7f", "student": "#0077bb", "distilled": "#ee7733"}
LEVELS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#222222")
CLASSES = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#997700", "#44bb99", "#ffaabb",
)  # fmt: skip


def of_class(number: int) -> str:
    """The colour of a class. Colours repeat if there are more classes than colours."""
    return CLASSES[number % len(CLASSES)]


def text_on(colour: str) -> str:
    """Black or white, whichever is easier to read on `#rrggbb`."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else "white"
