"""Trainings whose students are tested, those first that are not yet."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.checkpoints.resume import best_checkpoint, newest_intact_checkpoint
from pcka_mmdet.report.run import Run, coco_evaluator


def tested(folders: Sequence[Path], which: str = "last") -> list[Run]:
    """The runs of work directories; those whose checkpoint was not tested are tested.

    Args:
        folders: Work directories.
        which: `'last'` tests the newest checkpoint, or the best one where a training keeps that alone. `'best'` tests
            the best on val.

    Raises:
        ValueError: A test failed, or a folder has no such checkpoint; see also `coco_evaluator`.
    """
    runs = [Run.read(folder, which) for folder in folders]
    for run in runs:
        folder, results = run.folder, run.results
        best = best_checkpoint(folder)
        checkpoint = best if which == "best" else newest_intact_checkpoint(folder) or best
        if checkpoint is None:
            if results.is_file():
                continue
            if which == "best":
                raise ValueError(
                    f"there is no best_*.pth in {str(folder)!r}: set default_hooks.checkpoint.save_best=auto, or "
                    "write --which last"
                )
            raise ValueError(f"there is no checkpoint in {str(folder)!r}: finish that training first")
        if results.is_file() and results.stat().st_mtime >= checkpoint.stat().st_mtime:
            continue
        words = words_of_test(run.config, run.config.filename, checkpoint, results)
        print(f"testing {checkpoint}", flush=True)
        done = subprocess.run([sys.executable, "-m", "pcka_mmdet", "test", *words], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"the test of {checkpoint} failed: {done.stderr.strip()}")
    return runs


def words_of_test(config: Config, config_file: str | Path, checkpoint: str | Path, results: Path) -> list[str]:
    """Arguments of `pcka-mmdet test` that write the detections of a training to a file.

    Args:
        config: The training's config.
        config_file: Its file.
        checkpoint: The checkpoint to test.
        results: The file, such as `RESULTS` in the training's work directory.

    Raises:
        ValueError: See `coco_evaluator`.
    """
    place, _ = coco_evaluator(config)
    prefix = results.with_name(results.name.partition(".")[0])
    options = ["--work-dir", results.parent, "--cfg-options", f"{place}.outfile_prefix='{prefix}'"]
    return list(map(str, [config_file, checkpoint, *options]))
