"""Runs of the repository's tools."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import Config

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.demo.config import move_data_root
from tests.pages import split
from tests.programs import command  # noqa: F401  (a fixture)


def last_log(work_dir: Path) -> str:
    """The log of the newest run in a work directory."""
    return max(work_dir.glob("*/*.log")).read_text()


def tiny_demo(digit_scenes: Path, epochs: int = 1) -> list[str]:
    """Settings that make the demo's distillation small and find the tiny set."""
    splits = ("train", "val", "test")
    return [
        "--cfg-options",
        "model.teacher_ckpt=random",
        "model.architecture.test_cfg.score_thr=0.0",  # there is something to evaluate even so early
        f"train_cfg.max_epochs={epochs}",
        "train_cfg.val_interval=1",
        "train_dataloader.batch_size=4",
        "test_dataloader.batch_size=1",
        "default_hooks.logger.interval=1",
        *(f"{split}_dataloader.dataset.data_root={digit_scenes}/" for split in splits),
        *(f"{split}_evaluator.ann_file={digit_scenes}/annotations/{split}.json" for split in ("val", "test")),
    ]


def write_pair(folder: Path, digit_scenes: Path) -> None:
    """Write `student.py`, `teacher.py` and `teacher.pth`: the demo's pair on the tiny set, for one epoch, untrained."""
    torch.save(dict(state_dict=build_detector("configs/demo/teacher.py").state_dict()), folder / "teacher.pth")
    for side in ("student", "teacher"):
        config = Config.fromfile(f"configs/demo/{side}.py")
        move_data_root(config, str(digit_scenes))
        config.train_cfg.update(max_epochs=1, val_interval=1)
        config.dump(folder / f"{side}.py")


def run_block(
    command: Callable,  # noqa: F811
    block: str,
    folder: Path,
    names: Mapping[str, Path | str] | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Run the commands of a page's block one after another, as they stand there.

    Args:
        command: The fixture.
        block: The block.
        folder: Where they run.
        names: What stands for words such as `CONFIG`.
        options: Further words of each command.

    Returns:
        What each of them printed.
    """
    said = []
    for program, *words in split(block):
        if program == "source":
            continue
        if program == "pcka-mmdet":
            words = ["-m", "pcka_mmdet", *words]
        else:
            assert program == "python", program
        said.append(command(*((names or {}).get(word, word) for word in words), *options, cwd=folder).stdout)
    return said
