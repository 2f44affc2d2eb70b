"""The console shows one total per distillation loss; the values per level go to the visualizer's files alone."""

import re

from mmengine.runner import LogProcessor, Runner

from pcka_mmdet.registry import LOG_PROCESSORS

_LEVEL_VALUE = re.compile(r"(?<!\S)\S+_s\d+: \S+\s*")


@LOG_PROCESSORS.register_module()
class LevelLogProcessor(LogProcessor):
    """MMEngine's log processor without the values per level (`distill.loss_pcka_s8`) on the console."""

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Values for the visualizer, and the console line."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        return tag, _LEVEL_VALUE.sub("", line).rstrip()
