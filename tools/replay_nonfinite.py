"""The step again whose loss was not finite: `tools/replay_nonfinite.py work_dirs/.../nonfinite/iter_N_rank_0.pth`.

On the CPU, in the precision of the training. Of the annotations boxes, labels and masks are kept.
"""

import argparse

from pcka_mmdet.engine.launch import add_config_argument
from pcka_mmdet.engine.nonfinite import replay


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Repeat a step whose loss was not finite, and say what its losses are."
    )
    parser.add_argument("file", help="what the training kept")
    add_config_argument(parser)
    args = parser.parse_args()
    try:
        step = replay(args.file, args.config)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print("weights that are not finite:", ", ".join(step.weights) or "none")
    for name, value in step.losses.items():
        print(f"{name}: {value:.6g}")
    if step.problem:
        raise SystemExit(step.problem)


if __name__ == "__main__":
    main()
