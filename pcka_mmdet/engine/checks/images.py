"""Whether the image files of a data set are there."""

import os

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from pcka_mmdet.configuration.data_set import innermost

MOST = 5000
"""Files that are looked for, evenly over the data set."""


def check_images(config: Config, loader: str) -> str:
    """Look for the image files of a data loader, up to `MOST`.

    Args:
        config: The config of a training.
        loader: `'train_dataloader'`, `'val_dataloader'` or `'test_dataloader'`.

    Returns:
        How many there are.

    Raises:
        ValueError: Files are missing or empty.
        Exception: Whatever the data set raises when it is built.
    """
    if not config.get(loader):
        return "there is none"
    if innermost(config[loader].dataset).get("backend_args"):
        return "not looked for: they are not on this machine"
    init_default_scope(config.get("default_scope") or "mmdet")
    dataset = DATASETS.build(config[loader].dataset)
    number = len(dataset)
    infos = (dataset.get_data_info(index) for index in range(0, number, max(1, number // MOST)))
    paths = [info["img_path"] for info in infos if "img_path" in info]
    bad = [path for path in paths if not os.path.isfile(path) or not os.path.getsize(path)]
    if bad:
        raise ValueError(
            f"{len(bad)} of {len(paths)} image files are missing or empty, such as {bad[0]!r}: check data_root and "
            f"data_prefix of {loader}.dataset, or copy the files again"
        )
    return f"{len(paths)} of {number} files looked for, all there"
