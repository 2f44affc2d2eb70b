"""Pictures of neck maps for one image: `tools/feature_maps.py CONFIG CHECKPOINT IMAGE`.

For each level: the teacher, the student alone and the distilled student, as channel mean and as principal components in
common colours, and on the image the CKA of student and teacher in each patch.
"""

import argparse
from pathlib import Path

import cv2

from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.engine.cfg_options import merge_options
from pcka_mmdet.engine.neck_maps import TEACHER, maps_of_image
from pcka_mmdet.functional.map_similarity import local_cka
from pcka_mmdet.report.pictures import HOW_TO_READ, plot_features

from .arguments import add_cfg_options, add_picture_argument, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config of a distillation, whose teacher has its checkpoint")
    parser.add_argument("checkpoint", help="checkpoint of the distilled student")
    parser.add_argument("image", type=Path, help="image file")
    parser.add_argument("--student", metavar="CHECKPOINT", help="checkpoint of the student alone")
    parser.add_argument("--channels", type=int, nargs="+", default=[], help="channels to show too")
    parser.add_argument("--patch", type=positive, default=4, help="side of a patch in positions (default: %(default)s)")
    add_cfg_options(parser, "override settings of the config")
    add_picture_argument(parser, "feature_maps.png")


def run(args: argparse.Namespace) -> None:
    config = load_config(args.config)
    merge_options(config, args.cfg_options)
    checkpoints = {"student": args.student} if args.student else {}
    levels = maps_of_image(config, checkpoints | {"distilled": args.checkpoint}, args.image)
    fewest = min(values.shape[1] for maps in levels.values() for values in maps.values())
    if wrong := [channel for channel in args.channels if not 0 <= channel < fewest]:
        raise ValueError(f"--channels: the maps have channels 0 to {fewest - 1}, got {wrong}")
    local, first = {}, {}
    for level, maps in levels.items():
        local[level] = {name: local_cka(m, maps[TEACHER], args.patch) for name, m in maps.items() if name != TEACHER}
        first[level] = {name: values[0] for name, values in maps.items()}
    picture = cv2.cvtColor(cv2.imread(str(args.image)), cv2.COLOR_BGR2RGB)
    plot_features(picture, first, local, args.out, args.channels)
    for level, values in local.items():
        if any(value.isnan().all() for value in values.values()):
            print(f"{level}: the map has too few positions for CKA")
            continue
        print(f"{level}: CKA in patches, mean", *(f"{name} {value.mean():.3f}" for name, value in values.items()))
    print(f"{HOW_TO_READ}\nthe picture is {args.out}")
