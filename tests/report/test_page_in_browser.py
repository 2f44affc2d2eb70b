"""The page in a headless Chromium: its switches, on a phone, in the dark, on paper, and what a screen reader gets."""

import pytest

from tests.report.browser import browser, needs_chromium

pytestmark = needs_chromium

TEXT = """[...document.querySelectorAll('svg text')].filter(t => t.getClientRects().length).map(t => {
    const matrix = t.getScreenCTM();
    return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(matrix.a, matrix.b);
})"""
"""Sizes in pixels of the screen of all text in charts and pictures that is drawn."""

TABLES = """[...document.querySelectorAll('details table')].map(
    t => t.checkVisibility({contentVisibilityAuto: true}) && t.getBoundingClientRect().height > 0)"""
"""Whether the tables that can be closed are seen."""


@pytest.fixture(scope="module")
def tab():
    with browser() as tab:
        yield tab


@pytest.fixture(params=["page", "page_of_one"])
def either(request):
    """The page of a comparison, and that of a single run."""
    return request.getfixturevalue(request.param)


def test_switches(tab, page):
    tab.open(page)
    shown = "getComputedStyle(document.querySelector('.picture .layer-{}')).display"
    layers = "run", "truth", "teacher"
    assert [tab.run(shown.format(layer)) != "none" for layer in layers] == [True, False, False]
    tab.click(".picture .run")
    tab.click(".picture label:has(.teacher)")
    assert [tab.run(shown.format(layer)) != "none" for layer in layers] == [False, False, True]
    tab.click("details summary")
    assert tab.run("document.querySelector('details').open") is True
    assert tab.run("[...document.images].every(i => i.complete)") is True
    assert tab.run("document.querySelectorAll('h1').length") == 1
    assert tab.errors() == []


def test_every_switch_and_every_table(tab, page):
    """A switch changes the boxes that it names, only in its picture."""
    tab.open(page)
    layers = "run", "truth", "teacher"
    drawn = f"""[...document.querySelectorAll('.picture')].map(picture => {list(layers)}.map(
        layer => getComputedStyle(picture.querySelector('.layer-' + layer)).display != 'none'))"""
    expected = tab.run(drawn)
    assert len(expected) == 3
    for picture, states in enumerate(expected):
        for number, layer in enumerate(layers):
            tab.click(f".picture label:has(.{layer})", picture)
            states[number] = not states[number]
            assert tab.run(drawn) == expected
    opened = "[...document.querySelectorAll('details')].map(d => d.open)"
    count = len(tab.run(opened))
    for number in range(count):
        tab.click("details > summary", number)
        assert tab.run(opened) == [True] * (number + 1) + [False] * (count - number - 1)
    assert tab.errors() == []


def test_a_run_alone(tab, page_of_one):
    tab.open(page_of_one)
    tab.click("details summary")
    assert tab.run("document.querySelector('details').open") is True and tab.errors() == []


def test_on_a_phone(tab, either):
    """Nothing but a figure or a table scrolls sideways; text is 11 pixels high or more, what is touched 24."""
    tab.emulate("setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    try:
        tab.open(either)
        assert tab.run("[document.documentElement.scrollWidth, window.innerWidth]") == [390, 390]
        assert tab.run("[...document.querySelectorAll('.stacked')].map(e => e.scrollWidth - e.clientWidth)") == [0]
        sizes = tab.run(TEXT)
        assert len(sizes) > 50 and min(sizes) >= 11
        heights = "[...document.querySelectorAll('label, summary')].map(e => e.getBoundingClientRect().height)"
        assert min(tab.run(heights)) >= 24
        tab.run("document.querySelector('figure svg').style.width = '3000px'")  # of 80 classes
        assert tab.run("document.documentElement.scrollWidth") == 390
        assert tab.run("document.querySelector('figure').scrollWidth") == 3000
    finally:
        tab.emulate("clearDeviceMetricsOverride")


def test_on_paper_closed_tables_are_printed(tab, either):
    tab.open(either)
    assert not any(tab.run(TABLES))
    tab.emulate("setEmulatedMedia", media="print")
    try:
        seen = tab.run(TABLES)
    finally:
        tab.emulate("setEmulatedMedia", media="")
    assert len(seen) >= 3 and all(seen)


def test_in_the_dark(tab, page):
    """Text of the page and of the charts is light."""
    colours = """[document.body, ...document.querySelectorAll('.charts text')].map(
        e => getComputedStyle(e)[e == document.body ? 'color' : 'fill'])"""
    tab.open(page)
    assert tab.run(colours)[:2] == ["rgb(0, 0, 0)"] * 2
    tab.emulate("setEmulatedMedia", features=[dict(name="prefers-color-scheme", value="dark")])
    try:
        shown = tab.run(colours)
        note = tab.run("getComputedStyle(document.querySelector('.note')).color")
    finally:
        tab.emulate("setEmulatedMedia", features=[])
    cells = {"rgb(17, 17, 17)"}  # numbers on light cells of the confusion matrices
    assert set(shown) - cells == {"rgb(255, 255, 255)"} and note == "rgb(170, 170, 170)"


def test_what_a_screen_reader_gets(tab, page):
    tab.open(page)
    figures = tab.spoken("figure svg")
    assert {role for role, _ in figures} <= {"image", "img"}
    assert len({name for _, name in figures}) == len(figures) == 13  # seven charts, three images on both sides
    groups = tab.spoken(".picture")
    assert [role for role, _ in groups] == ["group"] * 3 and len({name for _, name in groups}) == 3
    assert all(name.endswith(".png") for _, name in groups)
    switches = [("checkbox", name) for name in ("detections", "ground truth", "the teacher's detections")]
    assert tab.spoken(".picture input")[:3] == switches
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    tables = tab.spoken("table")
    assert {role for role, _ in tables} == {"table"} and len({name for _, name in tables}) == 7
    assert all(name for _, name in tables)


def test_the_values_of_the_charts_are_in_tables(tab, page):
    tab.open(page)
    words = """[...document.querySelectorAll('details table')].map(
        t => [...t.rows].map(r => [...r.cells].map(c => c.textContent)))"""
    ends, classes, *matrices = tab.run(words)[:4]
    curves = ["AP on the val split", "detection loss (training)", "CKA of student and teacher"]
    assert ends[0] == ["", *curves, "best AP on val"]
    assert ends[-1] == ["distilled student, seed 1", "0.300", "0.500", "0.400", "0.300 at epoch 2"] and len(ends) == 6
    assert classes[0] == [
        "",
        "student alone",
        "distilled student",
        "difference",
        "95 % interval over seeds and test images",
    ]
    assert [matrix[0][:3] for matrix in matrices] == [["object", "found", "missed"]] * 2
