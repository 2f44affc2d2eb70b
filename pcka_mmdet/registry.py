"""The registries of this package: children of MMEngine's root in the scope `pcka_mmdet`.

`type='pcka_mmdet.PCKALoss'` resolves from every scope with no `custom_imports`: MMEngine imports this module, then
the registry's `locations`, whose modules register their classes here.
"""

from importlib import import_module

from mmengine import registry
from mmengine.registry import Registry

SCOPE = "pcka_mmdet"


class LazyRegistry(Registry):
    """A registry that imports a module when a name is in no registry."""

    def __init__(self, *args, last: str, **options):
        super().__init__(*args, **options)
        self._last = last

    def get(self, key: str) -> type | None:
        """The class of a name; `None` if there is none."""
        kind = super().get(key)
        if kind is None:
            import_module(self._last)
            kind = super().get(key)
        return kind


MODELS = LazyRegistry(
    "model", parent=registry.MODELS, scope=SCOPE, locations=["pcka_mmdet.models"], last="pcka_mmdet.models.classifiers"
)
LOG_PROCESSORS = Registry("log processor", parent=registry.LOG_PROCESSORS, scope=SCOPE, locations=["pcka_mmdet.engine"])
HOOKS = Registry("hook", parent=registry.HOOKS, scope=SCOPE, locations=["pcka_mmdet.engine"])
OPTIM_WRAPPERS = Registry("optim wrapper", parent=registry.OPTIM_WRAPPERS, scope=SCOPE, locations=["pcka_mmdet.engine"])
METRICS = Registry("metric", parent=registry.METRICS, scope=SCOPE, locations=["pcka_mmdet.evaluation"])
