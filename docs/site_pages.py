"""Hooks of MkDocs for mkdocs.yml: the pages beside docs/ are part of the site, and no link of the site is dead.

A page's links are written for the repository. On the site, what is in docs/ is at the top, and README.md comes first.
MkDocs checks the links of the Markdown; the built pages are checked here, the API's too.
"""

import logging
import os
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOG = logging.getLogger("mkdocs.hooks.site_pages")
BESIDE = ("configs/", "research/")
"""Folders whose pages are part of the site, with their paths in the repository."""
TOP = ("README.md", "README_zh-CN.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE")
"""Files at the top of the repository that are part of the site."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])[^)#\s]+")


def on_files(files, config):
    """Add the files at the top, the pages of the folders beside docs/, and the files to which they link."""
    from mkdocs.structure.files import File  # the tests read this file where MkDocs is not installed

    root = Path(config.config_file_path).parent
    for path in sorted(path for folder in BESIDE for path in (root / folder).rglob("*")):
        if path.suffix in (".md", ".py", ".json", ".txt", ".png"):
            name = path.relative_to(root).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for name in TOP:
        files.append(File.generated(config, place_on_site(name), abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Write the links between these folders as the site has them."""
    return LINK.sub(lambda link: link_on_site(page.file.src_uri, link[0]), markdown)


def on_post_build(config):
    """Warn of dead links of the built site; a strict build fails."""
    for page, link in dead_links(Path(config.site_dir)):
        LOG.warning("%s has a dead link: %s", page, link)


def place_on_site(path: str) -> str:
    """Where the site has a file of the repository."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def link_on_site(page: str, link: str) -> str:
    """A link of the repository as the site has it.

    Args:
        page: The page on the site, such as `index.md`, `coco.md` or `configs/README.md`.
        link: A link on it, relative to the page in the repository.
    """
    at_top = page == "index.md" or page in TOP
    folder = posixpath.dirname(page) if at_top or page.startswith(BESIDE) else posixpath.dirname(f"docs/{page}")
    target = posixpath.normpath(posixpath.join(folder, link))
    if not (target.startswith((*BESIDE, "docs/")) or target in TOP):
        return link  # MkDocs says that it is not there
    slash = "/" if link.endswith("/") else ""
    return posixpath.relpath(place_on_site(target), posixpath.dirname(page) or ".") + slash


class _Links(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "base":
                self.links.add(value)
            elif name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)


def dead_links(site: Path) -> list[tuple[str, str]]:
    """Links within a built site that lead to no file of it, or to no element of a page.

    Args:
        site: Folder of the site.

    Returns:
        Page and link of each, sorted.
    """
    pages = {path: _Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    dead = []
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            target = site / path.lstrip("/") if path.startswith("/") else page.parent / path if path else page
            target = Path(os.path.normpath(target))
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else None
            if not target.is_file() or (parts.fragment and anchors is not None and parts.fragment not in anchors):
                dead.append((page.relative_to(site).as_posix(), link))
    return sorted(dead)
