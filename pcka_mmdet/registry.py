"""The registries of this package: children of MMEngine's root in the scope `pcka_mmdet`.

`type='pcka_mmdet.PCKALoss'` resolves from every scope with no `custom_imports`: MMEngine imports this module, then
the registry's `locations`, whose modules register their classes here.
"""

from importlib import import_module

from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOG_PROCESSORS as MMENGINE_LOG_PROCESSORS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import Registry

SCOPE = "pcka_mmdet"


class LazyRegistry(Registry):
    """A registry that imports a module when a name is in no other."""

    def __init__(self, *args, last: str, **options):
        super().__init__(*args, **options)
        self._last = last

    def get(self, key: str) -> type | None:
        """The class of a name; `None` if there is none."""
        found = super().get(key)
        if found is None:
            import_module(self._last)
            found = super().get(key)
        return found


MODELS = LazyRegistry(
    "model", parent=MMENGINE_MODELS, scope=SCOPE, locations=["pcka_mmdet.models"], last="pcka_mmdet.models.classifiers"
)
LOG_PROCESSORS = Registry("log processor", parent=MMENGINE_LOG_PROCESSORS, scope=SCOPE, locations=["pcka_mmdet.engine"])
HOOKS = Registry("hook", parent=MMENGINE_HOOKS, scope=SCOPE, locations=["pcka_mmdet.engine"])
OPTIM_WRAPPERS = Registry("optim wrapper", parent=MMENGINE_OPTIM_WRAPPERS, scope=SCOPE, locations=["pcka_mmdet.engine"])
METRICS = Registry("metric", parent=MMENGINE_METRICS, scope=SCOPE, locations=["pcka_mmdet.evaluation"])
