"""Export a one-stage student as an ONNX file: `tools/export_onnx.py CHECKPOINT --shape 800 1344`."""

import argparse
from pathlib import Path

from pcka_mmdet.commands.arguments import add_config_argument, positive
from pcka_mmdet.commands.onnx_export import export_onnx
from pcka_mmdet.commands.short_errors import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Export a one-stage detector from a plain checkpoint, or the student from a distillation's."
    )
    parser.add_argument("checkpoint", help="checkpoint file or URL")
    parser.add_argument(
        "out",
        nargs="?",
        type=Path,
        help="file to write (default: CHECKPOINT with the suffix .onnx; for a URL, in the current folder)",
    )
    parser.add_argument(
        "--shape",
        type=positive,
        nargs=2,
        required=True,
        metavar=("HEIGHT", "WIDTH"),
        help="size of the padded image in pixels",
    )
    add_config_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    source = Path(Path(args.checkpoint).name if "://" in args.checkpoint else args.checkpoint)
    target = args.out or source.with_suffix(".onnx")
    names = export_onnx(args.checkpoint, target, tuple(args.shape), args.config)
    print(f"{target}: {', '.join(names)}")


if __name__ == "__main__":
    run_tool(main)
