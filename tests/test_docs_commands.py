"""Each command on a page is one that its program accepts.

Those of README.md, own-detector.md, report.md, analysis.md, theory.md, and the metric of ecosystem.md
are also run, in test_readme.py and tests/integration. Most of the others take hours, a GPU or a network.
"""

import argparse
import importlib
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pcka_mmdet.cli import COMMANDS, make_parser
from tests.pages import blocks, split
from tests.processes import ROOT

PAGES = [ROOT / "README.md", ROOT / "README_zh-CN.md", ROOT / "CONTRIBUTING.md"]
PAGES += [page for folder in ("docs", "configs", "research") for page in sorted((ROOT / folder).rglob("*.md"))]
PROGRAMS = ("pcka-mmdet", "torchrun", "make", "python", "pip", "mim", "tools/", ".venv", "source", "bash")
MAKEFILE = (ROOT / "Makefile").read_text()


class Command(NamedTuple):
    page: str
    words: tuple[str, ...]
    whole: bool
    """Whether it stands in a block, to be copied; a command within a sentence may leave out arguments."""


def commands() -> list[Command]:
    found = []
    for page in PAGES:
        text, name = page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))
        for block in blocks(name, "bash"):
            found += [Command(name, tuple(words), True) for words in split(block)]
        sentences = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for inline in re.findall(r"`([^`\n]+)`", sentences):
            if inline.startswith(PROGRAMS) and " " in inline:
                words = re.sub(r"[\[\]]|\.\.\.", "", inline)
                found += [Command(name, tuple(words), False) for words in split(words)]
    return list(dict.fromkeys(found))


def options(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a parser and of its commands."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {name for command in action.choices.values() for name in options(command)}
    return found


class Accepted(Exception):
    """A program has read its arguments and would now begin."""


@pytest.fixture
def parse(monkeypatch):
    """Read arguments with the parser of a program, whose `main` is given."""
    original = argparse.ArgumentParser.parse_args

    def accept(parser, arguments=None, namespace=None):
        original(parser, arguments, namespace)
        raise Accepted

    def names_only(parser, arguments=None, namespace=None):
        given = {word for word in sys.argv[1:] if word.startswith("--")}
        assert given <= options(parser), given
        raise Accepted

    def call(main, words, whole):
        monkeypatch.setattr(sys, "argv", ["program", *words])
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", accept if whole else names_only)
        with pytest.raises(Accepted):
            main()

    return call


def program_of(command: str):
    """Reads the words after a command of `pcka-mmdet`."""
    return lambda: make_parser(command).parse_args([command, *sys.argv[1:]])


def tool(path: Path):
    """Reads the arguments of a script in `tools`."""
    assert path.is_file(), path
    (command,) = re.findall(r'main\(command="(.+)"\)', path.read_text())
    return program_of(command)


COMMANDS_OF_PAGES = commands()


def test_commands_were_found():
    assert len(COMMANDS_OF_PAGES) > 60 and sum(command.whole for command in COMMANDS_OF_PAGES) > 30


def test_a_page_says_which_python_runs_the_tools():
    pages = {
        command.page for command in COMMANDS_OF_PAGES if command.words[0] == "python" and "tools/" in command.words[1]
    }
    assert pages
    assert [page for page in sorted(pages) if "source .venv/bin/activate" not in (ROOT / page).read_text()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_needs_no_scroll_bar(page):
    most = 90 if page.parent in (ROOT, ROOT / "docs") else 120 if ROOT / "research" in page.parents else 150
    lines = "".join(blocks(str(page.relative_to(ROOT)), "bash")).splitlines()
    assert [line for line in lines if len(line.split("    #")[0]) > most] == []


def test_configs_in_blocks_exist():
    named = {
        path
        for page in PAGES
        for block in blocks(str(page.relative_to(ROOT)), "bash")
        for path in re.findall(r"\bconfigs/[\w/.-]+\.py", re.sub(r"research/configs/\S+", "", block))
    }
    assert named and [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_command_is_on_a_page():
    assert COMMANDS.keys() <= {c.words[1] for c in COMMANDS_OF_PAGES if c.words[0] == "pcka-mmdet"} | {"demo"}


@pytest.mark.parametrize("command", COMMANDS_OF_PAGES, ids=lambda c: f"{c.page}: {' '.join(c.words)}")
def test_a_command(command, parse):
    program, *words = command.words
    program = re.sub(r"^\.venv[-\w]*/bin/", "", program)
    if program == "torchrun":  # its own options come before the module
        program, words = "python", words[words.index("-m") :]
    if (program, *words[:2]) == ("python", "-m", "pytest"):
        program, words = "pytest", [word for word in words[2:] if word.startswith("tests/")]
    for word in command.words:
        if word.startswith("configs/"):
            assert (ROOT / word).exists(), word
    if program == "make":
        for word in words:
            name, equals, _ = word.partition("=")
            known = rf"\$[({{(if ]*{name}\b|^{name} \?=" if equals else rf"^{name}:|^\.PHONY:.* {name}\b"
            assert re.search(known, MAKEFILE, flags=re.MULTILINE), word
    elif program == "pcka-mmdet":
        parse(program_of(words[0]), words[1:], command.whole)
    elif program == "python" and words[:2] == ["-m", "pcka_mmdet"]:
        parse(program_of(words[2]), words[3:], command.whole)
    elif program == "python" and words[0] == "-m" and words[1].startswith("research"):
        path = ROOT / words[1].replace(".", "/")
        assert not (ROOT / "research").exists() or path.with_suffix(".py").exists() or (path / "__main__.py").exists()
    elif program == "python" and words[0] == "-m":
        parse(importlib.import_module(words[1]).main, words[2:], command.whole)
    elif program == "python":
        parse(tool(ROOT / words[0]), words[1:], command.whole)
    elif program.endswith(".py"):  # a mention: the file is no program without Python before it
        assert not command.whole
        parse(tool(ROOT / program), words, command.whole)
    elif program.endswith(".sh"):
        assert (ROOT / program).is_file()
    elif program == "mim":
        assert words[0] in ("train", "test", "install")
        for name in words[2:]:
            if name.endswith(".py") and "/" not in name:
                assert len(list((ROOT / "configs").rglob(name))) == 1, name
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in words)
    else:  # tests/integration/test_ecosystem.py installs a wheel, and .ci/run a clone
        assert program in ("pip", "source"), program
