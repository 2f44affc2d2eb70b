"""One total per distillation loss on the console, the values of the levels in the visualizer's files."""

import re

from mmengine.runner import LogProcessor, Runner

from pcka_mmdet.registry import LOG_PROCESSORS

_LEVEL_VALUE = re.compile(r"(distill\.loss|similarity\.)\w+_s\d+: \S+\s*")


@LOG_PROCESSORS.register_module()
class LevelLogProcessor(LogProcessor):
    """MMEngine's log processor, less the values of single levels (`distill.loss_pcka_s8`) on the console."""

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Values for the visualizer, and the console line."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        return tag, _LEVEL_VALUE.sub("", line).rstrip()
