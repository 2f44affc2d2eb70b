"""The links of the built documentation: what docs/site_pages.py writes, and what it finds dead."""

import runpy

import pytest

from tests.processes import ROOT

HOOKS = runpy.run_path(str(ROOT / "docs" / "site_pages.py"))


@pytest.mark.parametrize(
    "page, link, expected",
    [
        ("coco.md", "../configs/fcos/README.md", "configs/fcos/README.md"),
        ("coco.md", "report.md", "report.md"),
        ("verdict/results/bccd.md", "../../../configs/README.md", "../../configs/README.md"),
        ("configs/README.md", "../docs/own-detector.md", "../own-detector.md"),
        ("configs/README.md", "fcos/README.md", "fcos/README.md"),
        ("configs/fcos/README.md", "../../docs/images/logits.png", "../../images/logits.png"),
        ("index.md", "docs/images/a.png", "images/a.png"),
        ("index.md", "README_zh-CN.md", "README_zh-CN.md"),
        ("README_zh-CN.md", "README.md", "index.md"),
        ("configs/fcos/README.md", "../../LICENSE", "../../LICENSE"),
        ("coco.md", "../Makefile", "../Makefile"),  # not on the site: MkDocs warns of it
    ],
)
def test_links_as_the_site_has_them(page, link, expected):
    assert HOOKS["link_on_site"](page, link) == expected


def test_only_links_of_the_repository_are_rewritten():
    text = "[a](../configs/README.md#x) ![b](images/a.png) [c](https://x.org/docs/) [d](#here)"
    assert HOOKS["LINK"].findall(text) == ["../configs/README.md", "images/a.png"]


def test_dead_links_are_found(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "index.html").write_text(
        '<p id="top"><a href="one/">a</a> <a href="one/#here">b</a> <a href="#top">c</a> <img src="/one/a%20b.png">'
        '<a href="https://x.org/none">d</a> <a href="one/#gone">e</a> <a href="two/">f</a> <img src="none.png">'
    )
    (tmp_path / "one" / "index.html").write_text('<p id="here">x <a href="..">a</a> <a href="../../up.html">b</a>')
    (tmp_path / "one" / "a b.png").touch()
    dead = [("index.html", "none.png"), ("index.html", "one/#gone"), ("index.html", "two/")]
    assert HOOKS["dead_links"](tmp_path) == [*dead, ("one/index.html", "../../up.html")]
