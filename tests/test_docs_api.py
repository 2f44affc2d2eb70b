"""The reference of the documentation has all that a config can name."""

import inspect
import re

import pytest
from mmengine.registry import Registry

from pcka_mmdet import registry
from tests.processes import ROOT

IDENTIFIERS = re.findall(
    r"^::: (\S+)$", "\n".join(p.read_text() for p in sorted((ROOT / "docs" / "api").glob("*.md"))), flags=re.MULTILINE
)


def components() -> list[type]:
    """All classes of this package that are registered; other tests register classes of their own."""
    found = []
    for entry in vars(registry).values():
        if isinstance(entry, Registry) and entry.scope == registry.SCOPE:
            entry.import_from_location()
            found += entry.module_dict.values()
    return [kind for kind in dict.fromkeys(found) if kind.__module__.startswith("pcka_mmdet.")]


COMPONENTS = components()


def test_components_were_found():
    assert len(COMPONENTS) > 20
    assert len(IDENTIFIERS) == len(set(IDENTIFIERS))  # that each is there, the strict build of the pages checks


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_a_component_is_on_a_page(component):
    names = {component.__module__, f"{component.__module__}.{component.__qualname__}"}
    assert names & set(IDENTIFIERS), "add '::: MODULE.CLASS' to a page of docs/api"


@pytest.mark.parametrize(
    "component", [kind for kind in COMPONENTS if "__init__" in vars(kind)], ids=lambda component: component.__name__
)
def test_each_argument_is_described(component):
    signature = inspect.signature(component.__init__).parameters.values()
    named = [p.name for p in signature if p.name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    text = inspect.getdoc(component)
    assert [name for name in named if not re.search(rf"^ +{name}: ", text, flags=re.MULTILINE)] == []


def test_the_options_of_distill_are_on_a_page():
    assert {"pcka_mmdet.api", "pcka_mmdet.engine.training.TrainingOptions"} <= set(IDENTIFIERS)
