"""Losses on the pairs of a student's and a teacher's neck levels."""

import copy
import warnings
from collections.abc import Mapping, Sequence

import torch
from mmrazor.models.distillers import BaseDistiller
from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..levels import Level, LevelPair, neck_levels, pair_levels
from ..losses import ForeignLoss, LevelLoss

ADVICE = "Lower the learning rate, clip gradients (optim_wrapper.clip_grad), or train without --amp"
"""What to do about a loss that is not finite."""

TEACHER_ADVICE = "Evaluate the teacher (--check-teacher); if it is sound, write teacher_precision='bf16' or 'fp32'"
"""The same where the teacher alone is at fault."""


@MODELS.register_module()
class FPNDistiller(BaseDistiller):
    """Compares neck maps of equal stride, each pair with every loss that is configured for it.

    One loss module is built for each loss and level, with a 1x1 convolution (the connector) on the student's map where
    the loss asks for one. All of it is built by `prepare`, before an optimizer, DDP or EMA looks at the parameters.

    Args:
        losses: Loss configs by name. Besides the loss's own arguments an entry may hold `strides` (the levels it is
            applied to), `level_weight` (`{stride: factor}`, 1 where a stride is not named) and a `patch_size` by stride
            (`{stride: side}`). Any loss that is called with the student's and the teacher's map will do.
        strides: The levels to distil, `'auto'` for all that both necks have.
        init_cfg: See `mmengine.model.BaseModule`.
    """

    def __init__(self, losses: dict[str, dict], strides: str | Sequence[int] = "auto", init_cfg: dict | None = None):
        super().__init__(init_cfg)
        if not losses:
            raise ValueError("FPNDistiller needs a loss, such as losses=dict(pcka=dict(type='pcka_mmdet.PCKALoss'))")
        misnamed = [name for name in losses if "loss" in name]
        if misnamed:  # MMEngine adds to the total whatever has "loss" in its key, and similarities have the loss's name
            raise ValueError(f"name the losses {misnamed} without 'loss', such as 'pcka': it is put before the name")
        self.loss_configs = losses
        self.strides = strides
        self.levels: tuple[list[Level], list[Level]] = [], []
        """Levels of the student's and of the teacher's neck."""
        self.pairs: dict[str, list[LevelPair]] = {}
        """Pairs of levels by name of the loss."""
        self.level_weights: dict[str, float] = {}
        """Factor of each level's loss by key, such as `pcka_s8`; a schedule may change it."""
        self.factor = 1.0
        """Of all losses; `LossScheduleHook` sets it."""
        self.nonfinite: str | None = None
        """What of the last step's losses is not finite, and what to do; the algorithm decides what comes of it."""
        self.losses = nn.ModuleDict()
        self.connectors = nn.ModuleDict()
        self.recorder = ModuleOutputsRecorder("neck")
        self._warned: set[str] = set()
        self._ever_active: set[str] = set()
        """Losses that some batch had a level for."""

    def prepare(self, student: nn.Module, teacher: nn.Module) -> None:
        """Pair the levels of two detectors, build losses and connectors, and start to record the student's neck.

        Raises:
            ValueError: A detector has no neck, levels do not pair up, or an option names a level that is not there.
        """
        self.levels = neck_levels(student), neck_levels(teacher)
        pairs = pair_levels(*self.levels, self.strides)
        for name, config in self.loss_configs.items():
            self._build_loss(name, copy.deepcopy(dict(config)), pairs)
        self.recorder.initialize(student)

    def _build_loss(self, name: str, config: dict, pairs: Sequence[LevelPair]) -> None:
        strides = config.pop("strides", None)
        level_weight = _by_stride(f"losses.{name}.level_weight", config.pop("level_weight", {}))
        by_stride = {pair.stride: pair for pair in pairs}
        for option, asked in (("strides", strides), ("level_weight", level_weight)):
            unknown = [stride for stride in asked or () if stride not in by_stride]
            if unknown:
                raise ValueError(f"losses.{name}.{option}: no level at stride {unknown}; there are {list(by_stride)}")
        self.pairs[name] = [by_stride[stride] for stride in strides or by_stride]
        for pair in self.pairs[name]:
            key = f"{name}_s{pair.stride}"
            loss = MODELS.build(_config_of_level(name, config, pair.stride))
            self.losses[key] = loss if isinstance(loss, LevelLoss) else ForeignLoss(loss)
            self.level_weights[key] = level_weight.get(pair.stride, 1.0)
            channels = pair.student.channels, pair.teacher.channels
            if self.losses[key].needs_connector(*channels):
                self.connectors[key] = nn.Conv2d(*channels, kernel_size=1)

    @property
    def active(self) -> bool:
        """Whether any loss has weight, so that the teacher has to run."""
        return any(self._has_weight(key) for key in self.losses)

    def _has_weight(self, key: str) -> bool:
        return self.factor != 0 and self.level_weights[key] != 0 and self.losses[key].active

    def compute_distill_losses(
        self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor] | None
    ) -> dict[str, Tensor]:
        """Losses of one step, in float32 whatever the maps' precision.

        Args:
            student_maps: Outputs of the student's neck, `(B, C, H, W)` each.
            teacher_maps: Outputs of the teacher's neck, or `None` when distillation pauses.

        Returns:
            `loss_{name}_s{stride}` for every loss and level, always the same keys; one that is inactive is an exact
            zero that depends on its connector, so that DDP finds every parameter used. Where a loss measures a
            similarity, `similarity.cka_s{stride}`.

        Raises:
            ValueError: No level of a loss has maps that are large enough, nor had one in a batch before.
        """
        results, similarities = {}, {}
        with torch.autocast(student_maps[0].device.type, enabled=False):
            for name, pairs in self.pairs.items():
                wanted = [p for p in pairs if teacher_maps is not None and self._has_weight(f"{name}_s{p.stride}")]
                degenerate = [pair for pair in wanted if self._is_degenerate(name, pair, student_maps)]
                if len(degenerate) < len(wanted):
                    self._ever_active.add(name)
                elif wanted and name not in self._ever_active:
                    raise ValueError(f"no level is left for loss {name!r}: {self._sizes(name, wanted, student_maps)}")
                self._warn_once(name, degenerate, student_maps)
                for pair in pairs:
                    key = f"{name}_s{pair.stride}"
                    if pair not in wanted or pair in degenerate:
                        results[f"loss_{key}"] = self._zero(key, student_maps[0])
                        continue
                    maps = student_maps[pair.student.index], teacher_maps[pair.teacher.index]
                    results[f"loss_{key}"] = self._loss(key, *maps)
                    similarity = getattr(self.losses[key], "similarity", None)
                    if similarity is not None:
                        similarities[f"similarity.{_similarity_name(name)}_s{pair.stride}"] = similarity
        self._check_finite(results, student_maps, teacher_maps)
        return {**results, **similarities}

    def _loss(self, key: str, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = (m.to(torch.promote_types(m.dtype, torch.float32)) for m in (student, teacher))
        if key in self.connectors:
            student = self.connectors[key](student)
        return self.factor * self.level_weights[key] * self.losses[key](student, teacher)

    def _zero(self, key: str, like: Tensor) -> Tensor:
        zero = like.new_zeros((), dtype=torch.promote_types(like.dtype, torch.float32))
        if key in self.connectors:
            zero = zero + sum(0.0 * parameter.sum() for parameter in self.connectors[key].parameters())
        return zero

    def _is_degenerate(self, name: str, pair: LevelPair, student_maps: Sequence[Tensor]) -> bool:
        return self.losses[f"{name}_s{pair.stride}"].is_degenerate(*student_maps[pair.student.index].shape[2:])

    def _warn_once(self, name: str, pairs: Sequence[LevelPair], student_maps: Sequence[Tensor]) -> None:
        for pair in pairs:
            key = f"{name}_s{pair.stride}"
            if key not in self._warned:
                self._warned.add(key)
                warnings.warn(f"loss {name!r}: {self._sizes(name, [pair], student_maps)}. It is 0 there", stacklevel=3)

    def _sizes(self, name: str, pairs: Sequence[LevelPair], student_maps: Sequence[Tensor]) -> str:
        return "; ".join(
            f"at stride {pair.stride} "
            + self.losses[f"{name}_s{pair.stride}"].degenerate_message(*student_maps[pair.student.index].shape[2:])
            for pair in pairs
        )

    def _check_finite(
        self, results: dict[str, Tensor], student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor] | None
    ) -> None:
        self.nonfinite = None
        if torch.isfinite(torch.stack([value.detach() for value in results.values()])).all():
            return
        bad = [key for key, value in results.items() if not torch.isfinite(value)]
        maps = {
            f"the {side}'s map at stride {getattr(pair, side).stride}": maps[getattr(pair, side).index]
            for pairs in self.pairs.values()
            for pair in pairs
            for side, maps in (("student", student_maps), ("teacher", teacher_maps or ()))
        }
        culprits = [name for name, m in maps.items() if not torch.isfinite(m).all()]
        only_teacher = culprits and all(name.startswith("the teacher") for name in culprits)
        self.nonfinite = (
            f"{', '.join(bad)} not finite; NaN or infinite values in: {', '.join(culprits) or 'no map'}. "
            f"{TEACHER_ADVICE if only_teacher else ADVICE}"
        )


def _config_of_level(name: str, config: dict, stride: int) -> dict:
    """The loss's own config at one stride: options given by stride become plain numbers."""
    if not isinstance(config.get("patch_size"), dict):
        return dict(config)
    patch_size = _by_stride(f"losses.{name}.patch_size", config["patch_size"])
    if stride not in patch_size:
        raise ValueError(f"losses.{name}.patch_size names strides {list(patch_size)} but not {stride}: add it")
    return {**config, "patch_size": patch_size[stride]}


def _by_stride(option: str, given: Mapping) -> dict[int, float]:
    """An option by stride. From the command line (`patch_size.8=4`) strides are text, which overrides numbers."""
    try:
        return {int(str(stride)): value for stride, value in given.items()}
    except (AttributeError, ValueError):
        raise ValueError(f"{option} is by stride, such as {{8: 2}}; got {given}") from None


def _similarity_name(loss_name: str) -> str:
    return "cka" if loss_name == "pcka" else f"cka_{loss_name}"
