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
    """All classes that are registered in this package's registries."""
    found = []
    for entry in vars(registry).values():
        if isinstance(entry, Registry) and entry.scope == registry.SCOPE:
            entry.import_from_location()
            found += entry.module_dict.values()
    return list(dict.fromkeys(found))


COMPONENTS = components()


def test_components_were_found():
    assert len(COMPONENTS) > 25
    assert len(IDENTIFIERS) == len(set(IDENTIFIERS))  # that each is there, the strict build of the pages checks


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_a_component_is_on_a_page(component):
    names = {component.__module__, f"{component.__module__}.{component.__qualname__}"}
    assert names & set(IDENTIFIERS), "add '::: MODULE.CLASS' to a page of docs/api"


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_each_argument_is_described(component):
    if "__init__" not in vars(component):
        return  # the base class's arguments
    signature = inspect.signature(component.__init__).parameters.values()
    named = [p.name for p in signature if p.name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    text = inspect.getdoc(component)
    assert [name for name in named if not re.search(rf"^ +{name}: ", text, flags=re.MULTILINE)] == []


def test_the_options_of_distill_are_on_a_page():
    assert {"pcka_mmdet.api", "pcka_mmdet.engine.training.TrainingOptions"} <= set(IDENTIFIERS)
