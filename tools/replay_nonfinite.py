"""The step again whose loss was not finite: `tools/replay_nonfinite.py work_dirs/.../nonfinite/iter_N_rank_0.pth`.

On the CPU. Of the annotations boxes, labels and masks are kept.
"""

import argparse

import torch
from mmengine.registry import MODELS, init_default_scope

from pcka_mmdet.configuration.detector import last_name
from pcka_mmdet.engine.launch import add_config_argument
from pcka_mmdet.engine.nonfinite import read_batch
from pcka_mmdet.engine.random_state import set_random_state


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Repeat a step whose loss was not finite, and say what its losses are."
    )
    parser.add_argument("file", help="what the training kept")
    add_config_argument(parser)
    args = parser.parse_args()
    try:
        config, content, batch = read_batch(args.file, args.config)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    init_default_scope(config.get("default_scope", "mmdet"))
    model = MODELS.build(config.model)
    model.load_state_dict(content["state_dict"])
    set_random_state(content["random_state"])
    model.train()
    not_finite = [key for key, value in model.state_dict().items() if not torch.isfinite(value).all()]
    print("weights that are not finite:", ", ".join(not_finite) or "none")
    amp = "Amp" in last_name(config.optim_wrapper.get("type", "OptimWrapper"))
    dtype = getattr(torch, config.optim_wrapper.get("dtype") or "bfloat16")
    try:
        with torch.autocast("cpu", dtype, enabled=amp):
            losses = model(**model.data_preprocessor(batch, True), mode="loss")
        _, losses = model.parse_losses(losses)
    except FloatingPointError as error:
        raise SystemExit(str(error)) from error
    for name, value in losses.items():
        print(f"{name}: {value.item():.6g}")


if __name__ == "__main__":
    main()
