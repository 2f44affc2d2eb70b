"""Findings about a training's config: what `pcka-mmdet train` checks, and all that needs the data or a step."""

import contextlib
import io
from collections.abc import Iterator
from functools import partial

from mmengine.config import Config

from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.sentence import sentence

from ..cfg_options import doubtful_names
from ..training import TrainingOptions
from .annotations import check_annotations, doubts_of_annotations
from .entries import examine_entries
from .finding import ERROR, OK, WARNING, Finding, finding_of
from .images import check_images
from .preflight import CHECKS, check_operators, check_teacher_checkpoint
from .step import STEP, examine_step
from .teacher_check import check_teacher

TEACHER_CHECK = "the teacher on the validation data"

LOADERS = {"train_dataloader": ERROR, "val_dataloader": ERROR, "test_dataloader": WARNING}
"""Data loaders, and how bad it is if their images are missing: a training does without those for test."""


def examine(
    config: Config, images: int | None = None, baseline: float | None = None, options: TrainingOptions | None = None
) -> Iterator[Finding]:
    """A training's config: what a training checks first, the data, then a step on one batch.

    Args:
        config: The complete config.
        images: Evaluate the teacher on so many validation images; `None` does not.
        baseline: Metric of the student alone on all validation images. The teacher is evaluated on all of them then.
        options: Those of the training.
    """
    wrong = False
    left_out = [check_operators]  # `examine_installation` has it
    if not is_distillation(config):
        left_out.append(check_teacher_checkpoint)
    named = [(subject, check) for subject, check in CHECKS.items() if check not in left_out]
    checks = [(subject, partial(check, config), ERROR) for subject, check in named]
    test = "annotations and classes of the test"
    checks.append((test, partial(check_annotations, config, ("train_dataloader", "test_dataloader")), WARNING))
    checks += [(f"images of {name}", partial(check_images, config, name), level) for name, level in LOADERS.items()]
    readable = list(LOADERS)
    for subject, check, level in checks:
        finding = finding_of(subject, check, level)
        wrong = wrong or finding.level == ERROR
        if subject == test and finding.level != OK:
            readable.remove("test_dataloader")
        yield finding
    for text in doubtful_names(config):
        yield Finding(WARNING, "names of settings", text)
    for text in [] if wrong else doubts_of_annotations(config, readable):
        yield Finding(WARNING, "annotations and classes", text)
    for finding in examine_entries(config):
        wrong = wrong or (finding.level == ERROR)
        yield finding
    if wrong:
        yield Finding(WARNING, STEP, "not tried: mend what is wrong first")
        return
    with contextlib.redirect_stdout(io.StringIO()):  # what packages print
        findings = list(examine_step(config, options or TrainingOptions()))
    yield from findings
    if not images and baseline is None:
        return
    if not is_distillation(config):
        level = ERROR if images else WARNING
        yield Finding(level, TEACHER_CHECK, "not tried: this config has no teacher. Add --teacher and --teacher-ckpt")
        return
    with contextlib.redirect_stdout(io.StringIO()):
        finding = _teacher(config, images, baseline)
    yield finding


def _teacher(config: Config, images: int | None, baseline: float | None) -> Finding:
    try:
        best = max(check_teacher(config, images if baseline is None else None))
    except Exception as error:
        return Finding(ERROR, TEACHER_CHECK, sentence(error))
    if baseline is None:
        text = f"{best:.3f} on {images} images, or all there are; --baseline WORK_DIR of the student alone compares it"
        return Finding(OK, TEACHER_CHECK, text)
    text = f"{best:.3f} on all images"
    if best <= baseline:
        return Finding(
            WARNING,
            TEACHER_CHECK,
            f"{text}, and the student alone has {baseline:.3f}: there is nothing to learn from it. Train the teacher "
            "longer, or take a better one",
        )
    return Finding(OK, TEACHER_CHECK, f"{text}, {best - baseline:+.3f} over the student alone")
