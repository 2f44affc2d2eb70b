"""The registries of this package: children of MMEngine's root in the scope `pcka_mmdet`.

`type='pcka_mmdet.PCKALoss'` resolves from every scope with no `custom_imports`: MMEngine imports this module, then
the registry's `locations`, whose modules register their classes here.
"""

from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOG_PROCESSORS as MMENGINE_LOG_PROCESSORS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import Registry

SCOPE = "pcka_mmdet"

MODELS = Registry("model", parent=MMENGINE_MODELS, scope=SCOPE, locations=["pcka_mmdet.models"])
LOG_PROCESSORS = Registry("log processor", parent=MMENGINE_LOG_PROCESSORS, scope=SCOPE, locations=["pcka_mmdet.engine"])
HOOKS = Registry("hook", parent=MMENGINE_HOOKS, scope=SCOPE, locations=["pcka_mmdet.engine"])
OPTIM_WRAPPERS = Registry("optim wrapper", parent=MMENGINE_OPTIM_WRAPPERS, scope=SCOPE, locations=["pcka_mmdet.engine"])
METRICS = Registry("metric", parent=MMENGINE_METRICS, scope=SCOPE, locations=["pcka_mmdet.evaluation"])
