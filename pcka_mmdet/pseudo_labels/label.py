"""Boxes of a teacher as an annotation file: `pseudo_label`."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from pcka_mmdet.checkpoints.atomic_write import atomic_write
from pcka_mmdet.configuration.images import read_images
from pcka_mmdet.configuration.installed import releases
from pcka_mmdet.configuration.sentence import listed, warn

from .annotate import Counts, annotate
from .labelled import Labelled, labelled_images
from .sources import Detectors, ResultFiles
from .thresholds import Quality, Threshold, choose, fixed


@dataclass(frozen=True)
class PseudoLabels:
    """A file of pseudo labels, and what is known of it."""

    file: Path
    counts: Counts
    thresholds: list[Threshold]
    ap: float | None
    """Of the teacher on the labelled images; `None` without them."""


def pseudo_label(
    teachers: Sequence[tuple[str | Path, str | Path]] | ResultFiles,
    images: str | Path,
    out: str | Path,
    val: str | Path | None = None,
    threshold: float | None = None,
    precision: float | None = None,
    at_least: float = 0.0,
    tta: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = "none",
) -> PseudoLabels:
    """Write an annotation file in COCO's format with the boxes that teachers find in images.

    Boxes with a score from the threshold of their class are objects, with their `score`. Those from a lower threshold
    are `iscrowd`: detectors ignore them. The rest is left out.

    Args:
        teachers: Config and checkpoint of each teacher; the boxes of several are fused. Or files of detections.
        images: A folder, a list or a COCO file; see `read_images`.
        out: The file to write.
        val: Labelled images that choose the thresholds: a config, whose `val_dataloader` has them, or a COCO file as
            `FILE.json:FOLDER`. `None` takes those of the first teacher's config.
        threshold: One threshold for all classes, in place of `val`.
        precision: Take the lowest thresholds with this precision on `val`, in place of those with the best F1.
        at_least: Refuse teachers whose AP on `val` is lower.
        tta: Whether each image is seen at several sizes, and mirrored.
        cfg_options: Settings of the teachers' configs.
        launcher: What started this process; as in `pcka-mmdet train`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file or an option is refused, or the teachers are worse than `at_least`.
    """
    out = Path(out)
    parts = out.with_name(f"{out.name}.parts")
    source: Detectors | ResultFiles
    default_val: Config | None = None
    if isinstance(teachers, ResultFiles):
        source = teachers
    else:
        options = {"launcher": launcher, **(cfg_options or {})}
        sides = [(str(config), str(checkpoint)) for config, checkpoint in teachers]
        source = Detectors(sides, parts, options, tta)
        default_val = source.configs[0]
    unlabelled = read_images(str(images))
    if threshold is None:
        labelled = labelled_images(val or default_val)
        known, category_ids = source.classes(labelled), labelled.category_ids
        found = source.on_labelled(labelled)
        quality = choose(labelled.annotations, found, category_ids, known, precision)
        _say_quality(quality, labelled, at_least)
    else:
        known = source.classes(None)
        category_ids = {name: number for number, name in enumerate(known, 1)}
        quality = Quality(None, fixed(known, threshold), [], [])
    info = {
        "description": "pseudo labels: boxes of a teacher, with their scores; iscrowd marks those that are not sure",
        "teacher": source.description(),
        "thresholds": {one.name: [_plain(one.sure), _plain(one.unsure)] for one in quality.thresholds},
        "val": labelled.images.source if threshold is None else None,
        "versions": releases(),
    }
    found = source.on_images(unlabelled, category_ids)
    content, counts = annotate(unlabelled, found, quality.thresholds, category_ids, info)
    barrier()  # all have read the parts
    if is_main_process():
        atomic_write(out, json.dumps(content).encode())
        shutil.rmtree(parts, ignore_errors=True)
    return PseudoLabels(out, counts, quality.thresholds, quality.ap)


def _say_quality(quality: Quality, labelled: Labelled, at_least: float) -> None:
    text = f"the AP on {len(labelled.images.entries)} labelled images is {quality.ap:.3f}"
    if quality.ap is not None and quality.ap < at_least:
        raise ValueError(f"{text}, below --at-least {at_least:g}: its boxes would teach its mistakes")
    print_log(text, "current")
    if quality.lacking:
        warn(f"the teacher does not know {quality.lacking}: their objects are background in the file")
    if quality.left_out:
        warn(
            f"the labelled images have no categories for {len(quality.left_out)} classes of the teacher "
            f"({listed(quality.left_out)}): their boxes are left out. To keep them, add the categories to that file"
        )
    if never := [one.name for one in quality.thresholds if math.isinf(one.sure)]:
        warn(f"no score makes boxes of {never} sure enough on the labelled images: the file has none of them")


def _plain(score: float) -> float | None:
    return None if math.isinf(score) else round(score, 4)
