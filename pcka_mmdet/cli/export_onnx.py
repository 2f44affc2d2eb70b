"""Export a one-stage student as an ONNX file: `tools/export_onnx.py CHECKPOINT --shape 800 1344`."""

import argparse
from pathlib import Path

from pcka_mmdet.engine.onnx_export import export_onnx

from .arguments import SIZE, add_config_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint file or URL")
    default = "CHECKPOINT with the suffix .onnx; for a URL, in the current folder"
    parser.add_argument("out", nargs="?", type=Path, help=f"file to write (default: {default})")
    parser.add_argument("--shape", required=True, help="size of the padded image in pixels", **SIZE)
    add_config_argument(parser)


def run(args: argparse.Namespace) -> None:
    source = Path(Path(args.checkpoint).name if "://" in args.checkpoint else args.checkpoint)
    target = args.out or source.with_suffix(".onnx")
    names = export_onnx(args.checkpoint, target, tuple(args.shape), args.config)
    print(f"{target}: {', '.join(names)}")
