"""The console shows one number for each distillation loss and similarity; the rest goes to the visualizer's files."""

import re

from mmengine.config import Config
from mmengine.runner import LogProcessor, Runner

from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.registry import LOG_PROCESSORS

MEASURED = "similarity_iter"
"""Entry of MMEngine's message hub: the iteration of `SimilarityHook`'s last measurement."""

_DETAIL = re.compile(r"(?<!\S)(\S+_(?:s|stage)\d+|balance\.\S+): \S+\s*")
_CKA = re.compile(r"(?<!\S)similarity\.cka: \S+")
"""What `SimilarityHook` has measured, in some step before."""


@LOG_PROCESSORS.register_module()
class LevelLogProcessor(LogProcessor):
    """MMEngine's log processor; its console lines are without the values per level and the balance's.

    A similarity that was measured some steps before has its age."""

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Values for the visualizer, and the console line."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        line = _DETAIL.sub("", line).rstrip()
        age = runner.iter - runner.message_hub.get_info(MEASURED, runner.iter)
        return tag, _CKA.sub(rf"\g<0> ({age} steps ago)", line) if age and mode == "train" else line

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """The same after a validation or a test."""
        tag, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        return tag, _DETAIL.sub("", line).rstrip()


def shorten_console_lines(config: Config) -> None:
    """Put `LevelLogProcessor` in the place of MMEngine's own log processor. Any other one stays."""
    processor = config.get("log_processor") or {}
    if last_name(processor.get("type", "LogProcessor")) == "LogProcessor":
        config.log_processor = {**processor, "type": "pcka_mmdet.LevelLogProcessor"}
