"""Time of the PCKA loss on a GPU, of its rivals, and of the teacher by option: `research/costs/gpu.py`.

The loss part needs torch alone (`PYTHONPATH=. python -m research.costs.gpu` in a checkout). The floor is the time to
read both maps and to write the gradient once, at the bandwidth of a copy of 1 GiB. The teacher's part needs
MMDetection.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pcka_mmdet.functional import patch_cka

from .measure import interleaved, save
from .rivals import LOSS_WEIGHT, RIVALS, add_map_arguments, neck_maps, value_and_gradients

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TEACHERS = {
    "as it is": dict(fuse=False, channels_last=False),
    "fused": dict(channels_last=False),
    "fused, channels last": dict(),
    "bf16": dict(precision="bf16"),
    "fp16": dict(precision="fp16"),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time of the PCKA loss and of the teacher on a GPU.")
    add_map_arguments(parser)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--teacher", default="mmdet::retinanet/retinanet_r101_fpn_1x_coco.py", help="the teacher's config"
    )
    parser.add_argument("--device", default="cuda", help="cpu tests this program without a GPU")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/gpu.json"))
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu tests this program without one")
    return args


def fused(student: Tensor, teacher: Tensor, patch_size: int) -> Tensor:
    """Our loss."""
    return LOSS_WEIGHT * (1 - patch_cka(student, teacher, patch_size, centering="none"))


def bandwidth(device: str) -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.zeros(2**30 if device != "cpu" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / interleaved({"copy": lambda: target.copy_(source)}, 10, device)["copy"]


def peak_bytes(function: Callable[[], object], device: str) -> int | None:
    """Peak bytes that a function allocates on a GPU; `None` on a CPU."""
    if device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    return torch.cuda.max_memory_allocated() - before


def loss_part(args: argparse.Namespace, dtype: torch.dtype) -> dict:
    """Seconds and peak bytes of each loss, and the floor."""
    students, teachers = neck_maps(
        args.batch, args.channels, args.size, args.patch_size, dtype=dtype, device=args.device
    )
    losses = {"PCKA": fused, **RIVALS}
    if args.device != "cpu":  # on a CPU it takes a minute and compiles other kernels
        torch._dynamo.reset()  # a graph for each size and dtype, and dynamo keeps few
        losses["PCKA, compiled"] = torch.compile(fused, dynamic=False)  # torch cannot trace the resizing otherwise
    functions = {
        name: lambda f=f: value_and_gradients(lambda s, t: f(s, t, args.patch_size), students, teachers)
        for name, f in losses.items()
    }
    moved = sum(2 * s.nbytes + t.nbytes for s, t in zip(students, teachers, strict=True))
    return dict(
        seconds=interleaved(functions, args.rounds, args.device),
        peak_bytes={name: peak_bytes(function, args.device) for name, function in functions.items()},
        map_bytes=sum(m.nbytes for m in students),
        floor_seconds=moved / bandwidth(args.device),
    )


def teacher_part(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of the teacher's forward to the neck, by option."""
    from mmengine.registry import DefaultScope

    from pcka_mmdet.configuration.detector import build_detector
    from pcka_mmdet.models.teacher.neck_forward import NeckForward

    DefaultScope.get_instance("benchmark", scope_name="mmdet")
    images = torch.randn(args.batch, 3, *args.size, device=args.device)
    forwards = {}
    for name, options in TEACHERS.items():
        detector = build_detector(dict(cfg_path=args.teacher, backbone=dict(init_cfg=None)))
        forwards[name] = NeckForward(detector.to(args.device).eval().requires_grad_(False), **options)
    return interleaved({name: lambda f=f: f(images) for name, f in forwards.items()}, args.rounds, args.device)


def main() -> None:
    args = parse_args()
    if args.device != "cpu":
        torch.cuda.set_device(torch.device(args.device).index or 0)  # events are recorded on the current one
    torch.manual_seed(0)
    results: dict[str, dict] = {}
    for name, dtype in DTYPES.items():
        result = results[name] = loss_part(args, dtype)
        print(f"PCKA, {name}, batch {args.batch}, {args.size[0]}x{args.size[1]}, {args.channels} channels")
        print(f"  {'floor':20} {1000 * result['floor_seconds']:9.3f} ms")
        for loss, seconds in result["seconds"].items():
            peak = result["peak_bytes"][loss]
            memory = "" if peak is None else f"   {peak / result['map_bytes']:.2f} times the student's maps"
            print(f"  {loss:20} {1000 * seconds:9.3f} ms{memory}")
    try:
        results["teacher"] = teacher_part(args)
    except ImportError as error:
        print(f"the teacher's part is skipped: {error}")
    for name, seconds in results.get("teacher", {}).items():
        print(f"teacher, {name:20} {1000 * seconds:9.3f} ms")
    save(args, results=results)


if __name__ == "__main__":
    main()
