"""Time of a distillation step, of its parts, and of MMRazor's step: `research/costs/step.py`.

RetinaNet R101 -> R50 with random weights on random images. A step is `train_step`: forward, backward and SGD. Our step
uses PCKA with patches of 64x64 pixels, MMRazor's is `FpnTeacherDistill` with `PKDLoss`, at the same four levels.
"""

import argparse
from pathlib import Path
from typing import Any

from mmdet.testing import demo_mm_inputs
from mmengine.registry import DefaultScope
from rich.console import Console

from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.configuration.detector import build_detector, model_config
from pcka_mmdet.functional.map_similarity import similarities
from pcka_mmdet.models.recipes import RECIPES
from pcka_mmdet.report.theme import console_table

from .measure import interleaved, save
from .steps import stepper, teacher_forward

STRIDES = (8, 16, 32, 64)
OWN_HEAD, TEACHER_HEAD = (RECIPES["both-heads"]["distiller"]["losses"][name] for name in ("own", "head"))
OPTIONS = {
    "distillation, teacher as it is": dict(fuse_teacher=False, teacher_channels_last=False),
    "distillation, fused": dict(teacher_channels_last=False),
    "distillation (fused, channels last)": dict(),
    "distillation, bf16": dict(teacher_precision="bf16"),
    "distillation, balanced": dict(balance=dict(ratio=1.0)),
    "teacher's head, balanced": dict(losses=dict(head=TEACHER_HEAD), balance=dict(ratio=1.0)),
    "own head, balanced": dict(losses=dict(own=OWN_HEAD), balance=dict(ratio=1.0)),
    "both heads, balanced": dict(losses=dict(own=OWN_HEAD, head=TEACHER_HEAD), balance=dict(ratio=1.0)),
    "both heads, balanced, bf16": dict(
        losses=dict(own=OWN_HEAD, head=TEACHER_HEAD), balance=dict(ratio=1.0), teacher_precision="bf16"
    ),
    "both heads, half of the images": dict(
        losses=dict(own=OWN_HEAD, head=dict(TEACHER_HEAD, images=0.5)), balance=dict(ratio=1.0)
    ),
}
MMRAZOR = "MMRazor's FpnTeacherDistill with PKDLoss"
SIMILARITY = "SimilarityHook's measurement, one in 50 steps"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time of a distillation step, of its parts, and of MMRazor's step.")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=[320, 320], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--depths", type=int, nargs=2, default=[101, 50], metavar=("TEACHER", "STUDENT"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="also time a compiled teacher")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/step.json"))
    return parser.parse_args()


def detector(depth: int) -> dict[str, Any]:
    """RetinaNet of a ResNet, without pretrained weights."""
    overrides: dict[str, Any] = dict(backbone=dict(depth=depth, init_cfg=None))
    if depth < 50:
        overrides["neck"] = dict(in_channels=[64, 128, 256, 512])
    # a whole model dict, because MMRazor ignores overrides beside `cfg_path`
    return model_config(dict(cfg_path="mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", **overrides))


def ours(teacher: dict, student: dict, losses: dict | None = None, **options: Any) -> dict[str, Any]:
    """FPNDistill, by default with PCKA, patches of 64x64 pixels at every level."""
    patch_size = {stride: 64 // stride for stride in STRIDES}
    pcka = dict(type="pcka_mmdet.PCKALoss", patch_size=patch_size, strides=STRIDES)
    return dict(
        type="pcka_mmdet.FPNDistill",
        architecture=student,
        teacher=teacher,
        teacher_ckpt="random",
        distiller=dict(type="pcka_mmdet.FPNDistiller", losses=losses or dict(pcka=pcka)),
        **options,
    )


def mmrazors(teacher: dict, student: dict) -> dict[str, Any]:
    """FpnTeacherDistill as in MMRazor's PKD configs."""
    sources = {f"s{level}": dict(recorder="fpn", data_idx=level) for level in range(len(STRIDES))}
    recorders = dict(fpn=dict(type="mmrazor.ModuleOutputs", source="neck"))
    return dict(
        type="mmrazor.FpnTeacherDistill",
        architecture=student,
        teacher=teacher,
        teacher_ckpt=None,
        distiller=dict(
            type="mmrazor.ConfigurableDistiller",
            student_recorders=recorders,
            teacher_recorders=recorders,
            distill_losses={f"loss_{name}": dict(type="mmrazor.PKDLoss", loss_weight=6) for name in sources},
            loss_forward_mappings={
                f"loss_{name}": dict(
                    preds_S=dict(from_student=True, **source), preds_T=dict(from_student=False, **source)
                )
                for name, source in sources.items()
            },
        ),
    )


def main() -> None:
    args, console = parse_args(), Console(width=120)
    DefaultScope.get_instance("benchmark", scope_name="mmdet")
    teacher, student = map(detector, args.depths)
    options = OPTIONS | ({"distillation, compiled": dict(compile_teacher=True)} if args.compile else {})
    models = {"student": student, **{name: ours(teacher, student, **chosen) for name, chosen in options.items()}}
    models = {name: build_detector(model) for name, model in {**models, MMRAZOR: mmrazors(teacher, student)}.items()}
    data = demo_mm_inputs(args.batch, [(3, *args.size)] * args.batch)

    images = models["student"].data_preprocessor(data, True)["inputs"]
    functions = {name: stepper(model, data) for name, model in models.items()}
    functions["teacher"] = teacher_forward(build_detector(teacher), images)
    maps = functions["teacher"]()
    functions[SIMILARITY] = lambda: [similarities(of_level, of_level.flip(0)) for of_level in maps]
    seconds = interleaved(functions, args.rounds)
    parts = seconds["student"] + seconds["teacher"]
    rows = [[name, f"{1000 * s:.0f}", f"{s / parts:.3f}", f"{s / seconds[MMRAZOR]:.3f}"] for name, s in seconds.items()]
    header = ["", "ms", "over student + teacher", "over MMRazor's"]
    console.print(console_table(header, rows, title=f"R{args.depths[0]} -> R{args.depths[1]}, batch {args.batch}"))
    save(args, seconds=seconds)


if __name__ == "__main__":
    run_tool(main)
