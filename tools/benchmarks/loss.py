"""PCKALoss against its rivals, forward and backward on all neck levels of one batch: `tools/benchmarks/loss.py`.

The naive form is the released code's: a Python loop over channels that are indexed out of the maps, `trace(K L)`, and a
gradient by autograd. Beside it the same loop over `unbind`, which is the fairer rival, a batched form whose gradient is
autograd's, and MMRazor's PKDLoss. All take the same maps; the first four give the same value.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

import pcka_mmdet  # noqa: F401  (makes MMRazor importable)
from pcka_mmdet.analysis.benchmark import LiveBytes, interleaved, machine
from pcka_mmdet.analysis.report import console_table
from pcka_mmdet.engine.stages import write_json
from pcka_mmdet.functional import extract_patches
from pcka_mmdet.models import PCKALoss

STRIDES = (8, 16, 32, 64, 128)
TARGETS = {
    "naive loop": "30 or more",
    "loop over unbind": "",
    "batched, autograd": "1.67 or more",
    "PKDLoss": "1.43 or more",
}
"""How many times PCKALoss's time a rival is to take."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of PCKALoss against its rivals.")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=[800, 1344], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--patch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-naive", action="store_true", help="leave out the loops, which take long")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/loss.json"))
    return parser.parse_args()


def gram_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Uncentred CKA of patch matrices `(N, D)` as the released code has it."""
    k, l = x @ x.T, y @ y.T
    return torch.trace(k @ l) / (torch.trace(k @ k).sqrt() * torch.trace(l @ l).sqrt())


def loop(student: Tensor, teacher: Tensor, patch_size: int) -> Tensor:
    """One loss a map `(B, C, H, W)`, channel by channel, indexed out of the map."""
    channels = student.shape[1]
    values = []
    for channel in range(channels):
        x, y = (extract_patches(m[:, channel : channel + 1], patch_size)[0] for m in (student, teacher))
        values.append(gram_similarity(x, y))
    return 10 * (1 - torch.stack(values).mean())


def unbound(student: Tensor, teacher: Tensor, patch_size: int) -> Tensor:
    """The same over patches that are cut once."""
    groups = (extract_patches(m, patch_size).unbind() for m in (student, teacher))
    return 10 * (1 - torch.stack([gram_similarity(x, y) for x, y in zip(*groups, strict=True)]).mean())


def batched(student: Tensor, teacher: Tensor, patch_size: int) -> Tensor:
    """All channels at once; the gradient is autograd's."""
    x, y = (extract_patches(m, patch_size) for m in (student, teacher))
    k, l = x @ x.mT, y @ y.mT
    norms = [(gram * gram).sum((-2, -1)).sqrt() for gram in (k, l)]
    return 10 * (1 - ((k * l).sum((-2, -1)) / (norms[0] * norms[1])).mean())


def run(loss: Callable, students: Sequence[Tensor], teachers: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
    """Value and gradients of a loss that is summed over the levels."""
    students = [m.detach().requires_grad_() for m in students]
    total = sum(loss(s, t) for s, t in zip(students, teachers, strict=True))
    total.backward()
    return total.item(), [m.grad for m in students]


def main() -> None:
    args, console = parse_args(), Console(width=120)
    from mmrazor.models import PKDLoss

    torch.manual_seed(0)
    sizes = [(-(-args.size[0] // s), -(-args.size[1] // s)) for s in STRIDES]
    students, teachers = ([torch.randn(args.batch, args.channels, *size) for size in sizes] for _ in range(2))
    ours = PCKALoss(patch_size=args.patch_size, centering="none")
    # a map of one patch has CKA 1 in the naive forms, and none here
    count = sum(not ours.is_degenerate(*size) for size in sizes)
    students, teachers = students[:count], teachers[:count]
    rivals = {name: lambda s, t, f=f: f(s, t, args.patch_size) for name, f in FORMS.items()}
    if args.without_naive:
        rivals = {"batched, autograd": rivals["batched, autograd"]}
    losses = {"PCKALoss": ours, **rivals, "PKDLoss": PKDLoss()}

    value, gradients = run(ours, students, teachers)
    for name, rival in rivals.items():
        other, others = run(rival, students, teachers)
        worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(gradients, others, strict=True))
        console.print(f"{name}: value {other:.6f} against {value:.6f}, gradients within {worst:.1e} of the largest")
    memory = {}
    for name, loss in losses.items():
        with LiveBytes() as live:
            run(loss, students, teachers)
        memory[name] = live.peak / sum(m.nbytes for m in students)
    seconds = interleaved({n: lambda f=f: run(f, students, teachers) for n, f in losses.items()}, args.rounds)
    rows = [
        [n, f"{1000 * s:.1f}", f"{s / seconds['PCKALoss']:.2f}", TARGETS.get(n, ""), f"{memory[n]:.2f}"]
        for n, s in seconds.items()
    ]
    header = ["", "ms", "times PCKALoss", "target", "peak memory / student's maps"]
    console.print(
        console_table(
            header, rows, title=f"batch {args.batch}, {args.size[0]}x{args.size[1]}, strides {STRIDES[:count]}"
        )
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        args.out,
        dict(machine=machine(), arguments={k: str(v) for k, v in vars(args).items()}, seconds=seconds, memory=memory),
    )
    console.print(f"{machine()}\n{args.out}", highlight=False)


FORMS = {"naive loop": loop, "loop over unbind": unbound, "batched, autograd": batched}

if __name__ == "__main__":
    main()
