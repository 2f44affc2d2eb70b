"""The ablations of PCKA: variants of a distillation, read from `configs/ablations`."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.carried import carried

from .methods import Method

PCKA = dict(
    type="pcka_mmdet.PCKALoss",
    loss_weight=10.0,
    patch_size={8: 2, 16: 1, 32: 1, 64: 1},
    average="channel",
    centering="center",
)
"""What the variants on the demo are variants of."""

FOLDER = carried("configs") / "ablations"


@dataclass(frozen=True)
class Variant(Method):
    """PCKA on the demo's pair, varied."""

    losses: dict[str, dict] = field(default_factory=lambda: dict(pcka=PCKA))
    options: dict[str, Any] = field(default_factory=dict)
    """See `vary`."""

    def apply(self, config: Config, setting: float, teacher: dict[str, Any]) -> Config:
        """The config of a student, distilled; see `Method.apply`."""
        config = super().apply(config, setting, teacher)
        vary(config, self.options)
        return config

    @property
    def is_base(self) -> bool:
        """Whether nothing is varied."""
        base = {f"pcka.{name}": value for name, value in PCKA.items()}
        return self.options.items() <= base.items()


@dataclass(frozen=True)
class Ablation:
    """A question and its variants."""

    title: str
    demo: dict[str, dict[str, Any]]
    """Options by variant, on the demo's pair."""
    coco: dict[str, dict[str, Any]]
    """Likewise, on a distillation by PCKA on COCO."""

    @classmethod
    def read(cls, path: Path) -> "Ablation":
        """Read a file of `configs/ablations`."""
        content = Config.fromfile(path).to_dict()
        return cls(content["title"], content["demo"], content["coco"])


def vary(config: Config, options: Mapping[str, Any]) -> None:
    """Change a distillation's config in place.

    Args:
        config: The config.
        options: `pcka.NAME` is an argument of the loss; `losses` replaces all losses; `balance.ratio` balances them;
            other keys are as in `--cfg-options`.
    """
    for key, value in copy.deepcopy(dict(options)).items():
        if key == "losses":
            config.model.distiller.losses = value
        elif key.startswith("pcka."):
            config.model.distiller.losses.pcka[key.removeprefix("pcka.")] = value
        elif key == "balance.ratio":
            config.model.balance = dict(ratio=value)
        else:
            config.merge_from_dict({key: value})
