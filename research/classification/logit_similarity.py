"""Logit similarity of teacher, student and distilled students of `make demo-cls`.

It needs MMPretrain, as `make demo-cls` does.
"""

import argparse
from pathlib import Path

import torch
from mmengine.runner import Runner
from torch import Tensor

from pcka_mmdet import load_student
from pcka_mmdet.checkpoints.resume import newest_intact_checkpoint
from pcka_mmdet.cli.arguments import add_picture_argument
from pcka_mmdet.cli.errors import run_tool

from .logit_plot import plot_logit_similarity

TEACHER = "teacher"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Logit similarity of the classifiers of make demo-cls.")
    parser.add_argument("work_dir", type=Path, help="work directory of research/classification/demo_cls.py")
    parser.add_argument("--seed", type=int, default=0, help="seed of the students (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=["student", "rcka", "kd", "dist", "pcka"])
    add_picture_argument(parser, None, "logits.png in the work directory")
    return parser.parse_args()


@torch.no_grad()
def logits_of(folder: Path) -> Tensor:
    """Logits `(N, K)` of a training's last student for the images that it was validated on."""
    checkpoint = newest_intact_checkpoint(folder)
    if checkpoint is None:
        raise ValueError(f"there is no checkpoint in {str(folder)!r}: finish research/classification/demo_cls.py first")
    model = load_student(checkpoint)
    loader = Runner.build_dataloader(model.cfg.val_dataloader, seed=0)
    found = [model.head(model.extract_feat(model.data_preprocessor(batch)["inputs"])) for batch in loader]
    return torch.cat(found)


def main() -> None:
    args = parse_args()
    folders = {TEACHER: args.work_dir / TEACHER}
    folders |= {method: args.work_dir / f"{method}_seed{args.seed}" for method in args.methods}
    logits = {name: logits_of(folder) for name, folder in folders.items()}
    classes = [str(number) for number in range(logits[TEACHER].shape[1])]
    out = args.out or args.work_dir / "logits.png"
    for name, distance in plot_logit_similarity(logits, TEACHER, classes, out).items():
        print(f"{name}: {distance:.3f} from the teacher")
    print(f"the plot is {out}")


if __name__ == "__main__":
    run_tool(main)
