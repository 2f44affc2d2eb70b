"""Trainings whose students are tested, those first that are not yet."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.checkpoints.resume import best_checkpoint, newest_intact_checkpoint
from pcka_mmdet.report.run import RESULTS, Run, coco_evaluator


def tested(folders: Sequence[Path]) -> list[Run]:
    """The runs of work directories; those whose newest checkpoint was not tested are tested.

    Where a training keeps the best checkpoint alone, that is tested.

    Raises:
        ValueError: A test failed, or a folder has no checkpoint; see also `coco_evaluator`.
    """
    runs = [Run.read(folder) for folder in folders]
    for run in runs:
        folder, results = run.folder, run.folder / RESULTS
        checkpoint = newest_intact_checkpoint(folder) or best_checkpoint(folder)
        if checkpoint is None:
            if results.is_file():
                continue
            raise ValueError(f"there is no checkpoint in {str(folder)!r}: finish that training first")
        if results.is_file() and results.stat().st_mtime >= checkpoint.stat().st_mtime:
            continue
        words = words_of_test(run.config, run.config.filename, checkpoint, folder)
        print(f"testing {checkpoint}", flush=True)
        done = subprocess.run([sys.executable, "-m", "pcka_mmdet", "test", *words], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"the test of {checkpoint} failed: {done.stderr.strip()}")
    return runs


def words_of_test(config: Config, config_file: str | Path, checkpoint: str | Path, folder: Path) -> list[str]:
    """Arguments of `pcka-mmdet test` that leave the detections of a training at `folder / RESULTS`.

    Args:
        config: The training's config.
        config_file: Its file.
        checkpoint: The checkpoint to test.
        folder: The training's work directory.

    Raises:
        ValueError: See `coco_evaluator`.
    """
    place, _ = coco_evaluator(config)
    results = folder / RESULTS
    prefix = results.with_name(RESULTS.name.partition(".")[0])
    options = ["--work-dir", results.parent, "--cfg-options", f"{place}.outfile_prefix='{prefix}'"]
    return list(map(str, [config_file, checkpoint, *options]))
