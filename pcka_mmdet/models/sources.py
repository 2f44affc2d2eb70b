"""The sources of a model that losses read, recorded during its forward.

| source     | output                                                          | paired by   |
| ---------- | --------------------------------------------------------------- | ----------- |
| `neck`     | maps of the neck, `(B, C, H, W)`                                | stride      |
| `backbone` | maps of the backbone, `(B, C, H, W)`                            | stride      |
| `head`     | raw outputs of the dense head or RPN: a tuple of maps per level | stride      |
| `roi_head` | raw outputs of the RoI head on the student's proposals          | stage       |
| `memory`   | a DETR's encoder output as maps, `(B, C, H, W)`                 | stride      |
| `decoder`  | a DETR's outputs for its own queries                            | layer       |
| `queries`  | a DETR's outputs for the teacher's queries                      | layer       |
| `predictions` | boxes and scores of a teacher, `Predictions`                 | -           |
| `logits`   | a classifier's logits, `(B, K)`                                 | single pair |

A record maps the name of a source to its outputs, one entry per level. Where gradients are balanced (see `balance`),
`SOURCE/GROUP` is the copy that a group of losses reads. The queries of a second teacher are the source `queries_1`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from .detector_parts import UnreadableHead, dense_head, stages
from .queries import DecoderInputs, Queries, by_layer, maps_of_memory
from .training_state import forked_rng

Record = dict[str, Sequence[Any]]

Fork = Callable[[Sequence[Tensor], int | None], tuple[Sequence[Tensor], Mapping[str, Sequence[Tensor]]]]
"""Copies outputs: once for the rest of the model, and once for each group of losses, by its name. It also takes the
number of labelled images; see `SourceRecorder.recording`."""

PARTS = ("neck", "backbone")
"""Sources that are parts of every detector."""

MAP_SOURCES = (*PARTS, "memory")
"""Sources whose levels are one map each."""

OF_ALL_IMAGES = (*PARTS, "head")
"""Sources of images without labels too. RoI heads and decoders see labelled images alone."""

UNLABELLED = "unlabelled"
"""Key in the metainfo of data samples: an image without labels, which only the distillation reads."""


class RoIOutputs(NamedTuple):
    """Outputs of one stage of a RoI head for R proposals.

    `rois` `(R, 5)`: index of the image, and x1, y1, x2, y2 in pixels of the padded image; `cls_score` `(R, K + 1)`:
    logits, the last class is the background; `bbox_pred` `(R, 4)` or `(R, 4 K)`: box deltas.
    """

    rois: Tensor
    cls_score: Tensor
    bbox_pred: Tensor


def by_level(outputs: Any, num_levels: int, head: str) -> list[tuple[Tensor, ...]]:
    """The outputs of a dense head's forward by level; the head returns them by kind (all class scores, all boxes).

    Raises:
        UnreadableHead: The outputs are no tuple of kinds with one map per level.
    """
    kinds = [kind for kind in outputs if isinstance(kind, (list, tuple))] if isinstance(outputs, tuple) else []
    if not kinds or any(len(kind) != num_levels for kind in kinds):
        raise UnreadableHead(
            f"{head} does not give one map a level for each kind of its outputs, so its outputs cannot be paired by "
            "stride"
        )
    return list(zip(*kinds, strict=True))


def listed(maps: Tensor | Sequence[Tensor] | Mapping[str, Tensor]) -> list[Tensor]:
    """The maps of a neck or a backbone as a list, one a level: it may give a single map, or maps by name."""
    if isinstance(maps, Tensor):
        return [maps]
    return list(maps.values() if isinstance(maps, Mapping) else maps)


class SourceRecorder:
    """Records some sources of a model while it runs.

    `forks` copy the outputs of a source, see `GradientBalance.fork`; not of `roi_head`, whose stages run one after
    another.
    """

    def __init__(self, model: nn.Module, sources: Sequence[str], forks: Mapping[str, Fork] | None = None):
        self._forks = dict(forks or {})
        self._record: Record | None = None
        self._labelled: int | None = None
        self._last = next((source for source in ("head", "neck", "backbone") if source in sources), None)
        self._rois: list[Tensor] = []
        self._shared: Mapping[str, Sequence[Queries]] = {}
        self._decoder: DecoderInputs | None = None
        if any(source.startswith("queries") for source in sources):
            self._decoder = DecoderInputs(model)
            model.bbox_head.register_forward_hook(self._keep_queries)
        if "decoder" in sources:  # after the other hook: the model goes on with what this one returns
            model.bbox_head.register_forward_hook(self._keep_decoder)
        for source in sources:
            if source == "memory":
                model.encoder.register_forward_hook(self._keep_memory)
            elif source in PARTS:
                getattr(model, source).register_forward_hook(partial(self._keep_maps, source))
            elif source == "logits":
                model.head.register_forward_hook(partial(self._keep_maps, source))
            elif source == "head":
                dense_head(model).register_forward_hook(self._keep_head)
            elif source == "roi_head":
                for extractor in stages(model.roi_head, "bbox_roi_extractor"):
                    extractor.register_forward_hook(self._keep_rois)
                for head in stages(model.roi_head, "bbox_head"):
                    head.register_forward_hook(self._keep_stage)

    @contextmanager
    def recording(
        self, labelled: int | None = None, shared: Mapping[str, Sequence[Queries]] | None = None
    ) -> Iterator[Record]:
        """Context in which the model's first forward fills the record.

        Args:
            labelled: Number of labelled images, the first of the batch. The record has all images; after its last maps
                or outputs of the dense head the model goes on with these. `None`: with all.
            shared: Queries of the teachers, by source.
        """
        self._record, self._labelled, self._shared = {}, labelled, shared or {}
        if self._decoder is not None:
            self._decoder.keeps = bool(self._shared)
        try:
            yield self._record
        finally:
            self._record, self._labelled, self._rois, self._shared = None, None, [], {}
            if self._decoder is not None:
                self._decoder.forget()

    def _keep_maps(self, source: str, module: nn.Module, inputs: tuple, outputs: Any) -> Any:
        return self._keep(source, outputs, listed)

    def _keep_head(self, module: nn.Module, inputs: tuple, outputs: Any) -> Any:
        return self._keep("head", outputs, lambda kinds: by_level(kinds, len(inputs[0]), type(module).__name__))

    def _keep(self, source: str, outputs: Any, split: Callable[[Any], Sequence[Any]]) -> Any:
        """Record the first outputs of a source, split by level. Returns what the model goes on with."""
        if self._record is None or source in self._record:
            return None
        if source in self._forks:
            leaves, structure = tree_flatten(outputs)
            places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]  # heads also give None
            labelled = self._labelled if source in OF_ALL_IMAGES else None
            task, groups = self._forks[source]([leaves[place] for place in places], labelled)

            def restored(copies: Sequence[Tensor]) -> Any:
                copied = dict(zip(places, copies, strict=True))
                return tree_unflatten([copied.get(place, leaf) for place, leaf in enumerate(leaves)], structure)

            for name, copies in groups.items():
                self._record[f"{source}/{name}"] = split(restored(copies))
            outputs = restored(task)
        self._record[source] = split(outputs)
        return self._of_labelled(source, outputs)

    def _of_labelled(self, source: str, outputs: Any) -> Any:
        if self._labelled is None or source != self._last:
            return outputs
        return tree_map_only(Tensor, lambda tensor: tensor[: self._labelled], outputs)

    def _keep_memory(self, module: nn.Module, inputs: tuple, outputs: Tensor) -> Any:
        return self._keep("memory", outputs, lambda memory: maps_of_memory(memory, self._record["neck"]))

    def _keep_decoder(self, module: nn.Module, inputs: tuple, outputs: Any) -> Any:
        return self._keep("decoder", tuple(outputs), lambda kinds: by_layer(*kinds))

    def _keep_queries(self, module: nn.Module, inputs: tuple, outputs: Any) -> Any:
        """Record the outputs for the teachers' queries. The model goes on with those for its own."""
        if self._record is None or self._decoder.inputs is None:
            return None
        own = list(outputs)
        for source, groups_of_queries in self._shared.items():
            with forked_rng():  # dropout of the student's own training stays as it is
                decoded = [self._decoder.decode(queries) for queries in groups_of_queries]
            shared = [torch.cat(kind, 2) for kind in zip(*decoded, strict=True)]
            if source in self._forks:  # the copies for the task have the gradient of its own queries alone
                number = own[0].shape[2]
                joined = [torch.cat(kind, 2) for kind in zip(own, shared, strict=True)]
                task, groups = self._forks[source](joined, None)
                own, shared = [kind[:, :, :number] for kind in task], [kind[:, :, number:] for kind in task]
                for name, copies in groups.items():
                    self._record[f"{source}/{name}"] = by_layer(*(kind[:, :, number:] for kind in copies))
            self._record[source] = by_layer(*shared)
        self._decoder.forget()
        return tuple(own)

    def _keep_rois(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        if self._record is not None:
            self._rois.append(inputs[1].detach())

    def _keep_stage(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        if self._record is not None and torch.is_grad_enabled():  # OHEM and PISA run the head to choose proposals
            stage = RoIOutputs(self._rois[-1], *outputs[:2])
            self._record["roi_head"] = [*self._record.get("roi_head", []), stage]
