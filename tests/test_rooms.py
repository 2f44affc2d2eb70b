"""The rooms of the package: which may import which, and how many modules a folder holds."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pcka_mmdet"

ALLOWED = {
    "functional": set(),
    "compat": set(),
    "registry": set(),
    "configuration": set(),
    "checkpoints": {"compat", "configuration"},
    "models": {"functional", "configuration", "checkpoints", "registry"},
    "engine": {"models", "functional", "configuration", "checkpoints", "registry"},
    "report": {"checkpoints", "configuration"},
    "pseudo_labels": {"engine", "report", "checkpoints", "configuration"},
    "demo": {"engine", "report", "checkpoints", "configuration"},
    "cli": {"demo", "pseudo_labels", "engine", "report", "models", "functional", "checkpoints", "configuration"},
    "api": {"engine", "report", "checkpoints", "configuration"},
    "__main__": {"cli"},
}
"""What the modules of a room may import of the other rooms. CONTRIBUTING.md shows the same."""

MOST_MODULES = 14
MOST_COMMANDS = 20


def modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def imported(path: Path) -> Iterator[str]:
    """Full names of all that a module imports, within functions too."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def test_every_room_is_known():
    there = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()} | {p.stem for p in PACKAGE.glob("*.py")}
    assert there - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_run_one_way(room):
    others = {
        (path.name, name.split(".")[1])
        for path in modules(room)
        for name in imported(path)
        if name.startswith("pcka_mmdet.") and name.split(".")[1] in ALLOWED.keys() - {room}
    }
    assert {name for _, name in others} <= ALLOWED[room], sorted(others)


def test_the_product_imports_no_research():
    root = PACKAGE.parent
    for path in (
        path for folder in ("pcka_mmdet", "tools", "configs", "tests") for path in (root / folder).rglob("*.py")
    ):
        names = [n.names for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import)]
        modules = [n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        imported_names = [alias.name for aliases in names for alias in aliases] + modules
        assert not [name for name in imported_names if name.split(".")[0] == "research"], path


def test_the_rules_have_no_circle():
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        free = {room for room, allowed in ALLOWED.items() if room not in done and allowed <= done}
        assert free, set(ALLOWED) - done
        done |= free


def test_no_hook_imports_the_command_line():
    for path in modules("engine/hooks"):
        assert not [name for name in imported(path) if "argparse" in name or "arguments" in name], path


def test_folders_are_small():
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= (
            MOST_COMMANDS if folder.name == "cli" else MOST_MODULES
        ), folder


def test_the_distiller_knows_no_loss_by_name():
    for path in modules("models/distillers"):
        text = path.read_text().replace("pcka_mmdet", "")
        assert not re.findall("cka|mimic|headloss|patch", text, re.IGNORECASE), path
