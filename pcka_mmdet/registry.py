"""The registries of this package: children of MMEngine's root in the scope `pcka_mmdet`.

`type='pcka_mmdet.PCKALoss'` resolves from every scope with no `custom_imports`: MMEngine imports this module, then
the registry's `locations`, whose modules register their classes here.
"""

from mmengine import registry
from mmengine.registry import Registry

SCOPE = "pcka_mmdet"

MODELS = Registry("model", parent=registry.MODELS, scope=SCOPE, locations=["pcka_mmdet.models"])
LOG_PROCESSORS = Registry("log processor", parent=registry.LOG_PROCESSORS, scope=SCOPE, locations=["pcka_mmdet.engine"])
HOOKS = Registry("hook", parent=registry.HOOKS, scope=SCOPE, locations=["pcka_mmdet.engine"])
OPTIM_WRAPPERS = Registry("optim wrapper", parent=registry.OPTIM_WRAPPERS, scope=SCOPE, locations=["pcka_mmdet.engine"])
DATASETS = Registry("dataset", parent=registry.DATASETS, scope=SCOPE, locations=["pcka_mmdet.engine"])
DATA_SAMPLERS = Registry("data sampler", parent=registry.DATA_SAMPLERS, scope=SCOPE, locations=["pcka_mmdet.engine"])
TRANSFORMS = Registry("transform", parent=registry.TRANSFORMS, scope=SCOPE, locations=["pcka_mmdet.engine"])
