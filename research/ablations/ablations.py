"""The ablations of PCKA: variants of a distillation, read from `research/configs/ablations`."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config

from research import CONFIGS
from research.methods.methods import PLAIN, Method
from research.trials import Trial, interval_cells, markdown_table, paired_difference, rows

PCKA = dict(
    type="pcka_mmdet.PCKALoss",
    loss_weight=10.0,
    patch_size={8: 2, 16: 1, 32: 1, 64: 1},
    strides=(8, 16),
    average="channel",
    centering="center",
)
"""What the variants on the demo are variants of. The coarser levels have 16 and 4 patches: there gradients of losses
differ most in size and say least."""

RATIO = 1.0
"""Norm of each variant's gradient over the task's, unless it says otherwise: so variants differ in direction alone."""

FOLDER = CONFIGS / "ablations"

HEADER = ("", "AP", "sd", "compared with", "difference", "95 %")
"""Names of the columns of a table of results."""


@dataclass(frozen=True)
class Variant(Method):
    """PCKA on the demo's pair, varied."""

    losses: dict[str, dict] = field(default_factory=lambda: dict(pcka=PCKA))
    balanced: bool = True
    variations: dict[str, Any] = field(default_factory=dict)
    """See `vary`."""

    def apply(self, config: Config, setting: float, teacher: dict[str, Any]) -> Config:
        """The config of a student, distilled; see `Method.apply`."""
        config = super().apply(config, setting, teacher)
        vary(config, self.variations)
        return config

    @property
    def identity(self) -> str:
        """A key that is equal for two variants if they are the same training."""
        base = {} if "losses" in self.variations else {f"pcka.{name}": value for name, value in PCKA.items()}
        return json.dumps(base | {"balance.ratio": RATIO} | self.variations, sort_keys=True)


@dataclass(frozen=True)
class Ablation:
    """A question and its variants."""

    title: str
    paper: str
    """What the paper says of it."""
    demo: dict[str, dict[str, Any]]
    """Options by variant, on the demo's pair."""
    coco: dict[str, dict[str, Any]]
    """Likewise, on a distillation by PCKA with constant weights on COCO."""
    against: dict[str, str] = field(default_factory=dict)
    """The variant that a variant is compared with; the student alone where none is named."""
    note: str = ""
    """What a reader of the results has to know of the variants."""

    @classmethod
    def read(cls, path: Path) -> "Ablation":
        """Read a file of `research/configs/ablations`."""
        content = Config.fromfile(path).to_dict()
        return cls(**{f.name: content[f.name] for f in fields(cls) if f.name in content})

    def results(self, names: Mapping[str, str], trials: Sequence[Trial]) -> list[list[str]]:
        """Rows of the table of results: the student alone, and each variant with its difference to what it is compared
        with, seed by seed; see `HEADER`.

        Args:
            names: The training of each variant; see `trainings`.
            trials: Trials of one regime; some may be of other ablations.
        """
        names = {PLAIN: PLAIN, **names}
        values = {row.method: row for row in rows(trials, [(name, 1.0) for name in names.values()], PLAIN, "val")}
        lines = []
        for label, name in names.items():
            row, other = values[name], self.against.get(label, PLAIN)
            gain = paired_difference(row.values, values[names[other]].values) if label != other else None
            deviation = f"{row.deviation:.3f}" if len(row.values) > 1 else ""
            lines.append([label, f"{row.mean:.3f}", deviation, other if gain else "", *interval_cells(gain)])
        return lines

    def page(self, lines: Sequence[Sequence[str]], epochs: int, seeds: int, command: str) -> str:
        """The table in Markdown, with what the paper says.

        Args:
            lines: See `results`.
            epochs: Length of the trainings.
            seeds: Their number.
            command: What runs them.
        """
        return (
            f"# {self.title}\n\nAP on val of the demo's digits after {epochs} epochs, {seeds} seed{'s' * (seeds > 1)}: "
            f"`{command}`. The teacher is the benchmark's, not the demo's.\n\n{markdown_table(HEADER, lines)}\n"
            f"{self.paper} Our copy has no numbers to compare with.\n" + (f"\n{self.note}\n" if self.note else "")
        )


def read_ablations() -> dict[str, Ablation]:
    """All of them by name of the file."""
    return {path.stem: Ablation.read(path) for path in sorted(FOLDER.glob("*.py"))}


def trainings(ablations: Mapping[str, Ablation]) -> dict[tuple[str, str], tuple[str, Variant]]:
    """Name and variant of the training of each table's variants. Tables have some in common.

    Args:
        ablations: All ablations, whatever is run: the names follow from them.

    Returns:
        By table and variant.
    """
    names: dict[str, str] = {Variant().identity: "pcka"}
    found = {}
    for table, ablation in ablations.items():
        for label, options in ablation.demo.items():
            variant = Variant(variations=options)
            found[table, label] = names.setdefault(variant.identity, f"{table}-{file_name(label)}"), variant
    return found


def file_name(variant: str) -> str:
    """A variant's name as a part of a file name."""
    return variant.replace(", ", "-").replace(" ", "-").lower()


def vary(config: Config, options: Mapping[str, Any]) -> None:
    """Change a distillation's config in place.

    Args:
        config: The config.
        options: `pcka.NAME` is an argument of the loss; `losses` replaces all losses; `balance.ratio` balances them,
            and `None` leaves their weights constant; other keys are as in `--cfg-options`.
    """
    for key, value in copy.deepcopy(dict(options)).items():
        if key == "losses":
            config.model.distiller.losses = value
        elif key.startswith("pcka."):
            config.model.distiller.losses.pcka[key.removeprefix("pcka.")] = value
        elif key == "balance.ratio":
            config.model.balance = None if value is None else dict(ratio=value)
        else:
            config.merge_from_dict({key: value})
