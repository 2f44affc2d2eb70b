"""Whether the image files of a data set are there."""

import contextlib
import os
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from pcka_mmdet.configuration.nested import walk

MOST = 5000
"""Files that are looked for, evenly over the data set."""


@contextlib.contextmanager
def explains_an_empty_set(loader: str) -> Iterator[None]:
    """While a data set is built, replace what numpy says of one without images.

    Raises:
        ValueError: There is no image.
    """
    try:
        yield
    except ValueError as error:
        if "need at least one array to concatenate" not in str(error):
            raise
        raise ValueError(
            f"the data set of {loader} is empty: no image is left after filtering (filter_cfg, classes without an "
            "annotation). Check its data_root, ann_file and metainfo"
        ) from error


def check_images(config: Config, loader: str) -> str:
    """Look for the image files of a data loader, up to `MOST`.

    Args:
        config: The config of a training.
        loader: `'train_dataloader'`, `'val_dataloader'` or `'test_dataloader'`.

    Returns:
        How many there are.

    Raises:
        ValueError: Files are missing or empty, or there is no image.
        Exception: Whatever the data set raises when it is built.
    """
    if not config.get(loader):
        return "there is none"
    if any(key in ("backend_args", "file_client_args") and value for key, value in walk(config[loader].dataset)):
        return "not looked for: they are not on this machine"
    init_default_scope(config.get("default_scope") or "mmdet")
    with explains_an_empty_set(loader):
        dataset = DATASETS.build(config[loader].dataset)
    if not hasattr(dataset, "get_data_info"):
        return "not looked for: the data set does not list them"
    number = len(dataset)
    infos = (dataset.get_data_info(index) for index in range(0, number, max(1, -(-number // MOST))))
    paths = [str(info["img_path"]) for info in infos if "img_path" in info]
    if not paths or any("://" in path for path in paths):
        return "not looked for: they are no files of this machine"
    bad = [path for path in paths if not os.path.isfile(path) or not os.path.getsize(path)]
    if bad:
        raise ValueError(
            f"{len(bad)} of {len(paths)} image files are missing or empty, such as {bad[0]!r}: check data_root and "
            f"data_prefix of {loader}.dataset, or copy the files again"
        )
    return f"{len(paths)} of {number} files looked for, all there"
