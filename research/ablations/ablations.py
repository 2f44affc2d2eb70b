"""The ablations of PCKA: variants of a distillation, read from `research/configs/ablations`."""

import copy
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.engine.recipe import make_distillation
from research import CONFIGS
from research.trials import interval_cells, markdown_table, paired_difference

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

ALONE = "plain"
"""Name of the student without distillation."""

FOLDER = CONFIGS / "ablations"

HEADER = ("", "AP", "sd", "compared with", "difference", "95 %")
"""Names of the columns of a table of results."""


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

    def section(self, names: Mapping[str, str], values: Mapping[str, Mapping[int, float]]) -> str:
        """The results in Markdown: the student alone, and each variant with its difference to what it is compared with,
        seed by seed; then what the paper says.

        Args:
            names: The training of each variant; see `trainings`.
            values: AP by seed of each training; some may be of other ablations.
        """
        names, rows = {ALONE: ALONE, **names}, []
        for label, name in names.items():
            other, aps = self.against.get(label, ALONE), values[name]
            gain = paired_difference(aps, values[names[other]]) if label != other else None
            deviation = f"{statistics.stdev(aps.values()):.3f}" if len(aps) > 1 else ""
            row = [label, f"{statistics.fmean(aps.values()):.3f}", deviation, other if gain else ""]
            rows.append([*row, *interval_cells(gain)])
        said = f"{self.paper} Our copy has no numbers to compare with."
        return "\n".join(
            [f"{self.title}:\n", markdown_table(HEADER, rows), said, *(["", self.note] if self.note else [])]
        )


def read_ablations() -> dict[str, Ablation]:
    """All of them by name of the file."""
    return {path.stem: Ablation.read(path) for path in sorted(FOLDER.glob("*.py"))}


def trainings(ablations: Mapping[str, Ablation]) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """Name and options of the training of each table's variants. Tables have some in common.

    Args:
        ablations: All ablations, whatever is run: the names follow from them.

    Returns:
        By table and variant.
    """
    names = {_identity({}): "pcka"}
    found = {}
    for table, ablation in ablations.items():
        for label, options in ablation.demo.items():
            found[table, label] = names.setdefault(_identity(options), f"{table}-{file_name(label)}"), options
    return found


def _identity(options: Mapping[str, Any]) -> str:
    """A key that is equal for two variants if they are the same training."""
    base = {} if "losses" in options else {f"pcka.{name}": value for name, value in PCKA.items()}
    return json.dumps(base | {"balance.ratio": RATIO} | options, sort_keys=True)


def file_name(variant: str) -> str:
    """A variant's name as a part of a file name."""
    return variant.replace(", ", "-").replace(" ", "-").lower()


def distil(config: Config, options: Mapping[str, Any], teacher: Mapping[str, Any]) -> None:
    """Make a student's config a distillation by PCKA, varied.

    Args:
        config: The student's; it is changed.
        options: See `vary`.
        teacher: `teacher` and `teacher_ckpt` of `FPNDistill`.
    """
    sides = dict(architecture=config.model, **teacher)
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=dict(pcka=copy.deepcopy(PCKA)))
    make_distillation(config, sides, distiller, dict(ratio=RATIO))
    vary(config, options)


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
