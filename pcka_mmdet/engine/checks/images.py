"""Whether the image files of a data set are there, and can be decoded."""

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image
from rich.console import Console
from rich.progress import track

from pcka_mmdet.configuration.nested import walk
from pcka_mmdet.configuration.provenance import cores


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
    """Decode the image files of a data loader, with a progress bar on a terminal's stderr.

    Args:
        config: The config of a training.
        loader: `'train_dataloader'`, `'val_dataloader'` or `'test_dataloader'`.

    Returns:
        How many there are, and how long 1,000 take.

    Raises:
        ValueError: Files are missing, empty, cut off or no images, or there is no image.
        Exception: Whatever the data set raises when it is built.
    """
    if not config.get(loader):
        return "there is none"
    if any(key in ("backend_args", "file_client_args") and value for key, value in walk(config[loader].dataset)):
        return "not looked for: they are not on this machine"
    init_default_scope(config.get("default_scope") or "mmdet")
    with explains_an_empty_set(loader):
        dataset = DATASETS.build(config[loader].dataset)
    while not hasattr(dataset, "get_data_info") and hasattr(dataset, "dataset"):  # a MultiImageMixDataset's
        dataset = dataset.dataset
    if not hasattr(dataset, "get_data_info"):
        return "not looked for: the data set does not list them"
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    sizes = {str(info["img_path"]): (info.get("width"), info.get("height")) for info in infos if "img_path" in info}
    if not sizes or any("://" in path for path in sizes):
        return "not looked for: they are no files of this machine"
    missing = [path for path in sizes if not os.path.isfile(path) or not os.path.getsize(path)]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(sizes)} image files are missing or empty, such as {missing[0]!r}: check data_root "
            f"and data_prefix of {loader}.dataset, or copy the files again"
        )
    start = time.perf_counter()
    console = Console(stderr=True)
    with ThreadPoolExecutor(cores()) as pool:
        problems = track(
            pool.map(_problem, sizes.items()),
            f"images of {loader}",
            total=len(sizes),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        bad = [(path, problem) for path, problem in zip(sizes, problems) if problem]
    seconds = time.perf_counter() - start
    if bad:
        raise ValueError(
            f"{len(bad)} of {len(sizes)} image files are damaged, or not as the annotation file says, such as "
            f"{bad[0][0]!r} ({bad[0][1]}): copy them again, or take them out of the annotation file"
        )
    return f"{len(sizes)} files decoded in {seconds:.1f} s, {1000 * seconds / len(sizes):.1f} s per 1,000"


def _problem(image: tuple[str, tuple[int | None, int | None]]) -> str | None:
    """What is wrong with an image file of a stated width and height; `None` if nothing is."""
    path, (width, height) = image
    try:
        with Image.open(path) as picture:
            picture.load()  # OpenCV would fill the rest of half a JPEG with grey
    except Exception as error:  # decoders raise errors of many kinds
        return str(error).replace(repr(path), "it")
    if width and height and {width, height} != set(picture.size):
        return f"{picture.width} x {picture.height} pixels, and {width} x {height} in the annotation file"
    return None
