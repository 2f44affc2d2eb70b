"""Decode each image file of a data set."""

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from rich.console import Console
from rich.progress import track

from pcka_mmdet.configuration.images import open_image
from pcka_mmdet.configuration.installed import cores
from pcka_mmdet.configuration.nested import walk


@contextlib.contextmanager
def explains_an_empty_set(loader: str) -> Iterator[None]:
    """While a data set is built, replace numpy's error for one without images by a `ValueError` that says so."""
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
    """Decode the image files of a data loader (`'val_dataloader'`), with a progress bar on a terminal's stderr.

    Returns:
        The number of files, and the seconds for 1,000 of them; or why they were not decoded.

    Raises:
        ValueError: Files are missing, damaged or of another size than annotated, or there is no image.
        Exception: Whatever the data set raises when it is built.
    """
    if not config.get(loader):
        return "there is none"
    if any(key in ("backend_args", "file_client_args") and value for key, value in walk(config[loader].dataset)):
        return "not decoded: they are not on this machine"
    init_default_scope(config.get("default_scope") or "mmdet")
    with explains_an_empty_set(loader):
        dataset = DATASETS.build(config[loader].dataset)
    while not hasattr(dataset, "get_data_info") and hasattr(dataset, "dataset"):  # a MultiImageMixDataset's
        dataset = dataset.dataset
    infos = map(dataset.get_data_info, range(len(dataset))) if hasattr(dataset, "get_data_info") else ()
    sizes = {str(info["img_path"]): (info.get("width"), info.get("height")) for info in infos if "img_path" in info}
    if not sizes or any("://" in path for path in sizes):
        return "not decoded: the data set lists no files on this machine"
    console = Console(stderr=True)
    options = dict(total=len(sizes), console=console, transient=True, disable=not console.is_terminal)
    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        results = track(pool.map(_problem, sizes.items()), f"images of {loader}", **options)
        problems = {path: problem for path, problem in zip(sizes, results) if problem}
    seconds = time.perf_counter() - start
    if problems:
        path, problem = next(iter(problems.items()))
        raise ValueError(
            f"{len(problems)} of {len(sizes)} image files are missing, damaged or of another size than the annotation "
            f"file says, such as {path!r} ({problem}): check data_root and data_prefix of {loader}.dataset, copy the "
            "files again, or take them out of the annotation file"
        )
    return f"{len(sizes)} files decoded in {seconds:.1f} s, {1000 * seconds / len(sizes):.1f} s per 1,000"


def _problem(image: tuple[str, tuple[int | None, int | None]]) -> str | None:
    """What is wrong with an image file of a stated width and height."""
    path, (width, height) = image
    if not os.path.isfile(path) or not os.path.getsize(path):
        return "missing or empty"
    try:
        with open_image(path) as picture:
            picture.load()  # OpenCV would fill the rest of half a JPEG with grey
    except Exception as error:  # decoders raise exceptions of many kinds
        return str(error).replace(repr(path), "it")
    if width and height and {width, height} != set(picture.size):
        return f"{picture.width} x {picture.height} pixels, and {width} x {height} in the annotation file"
    return None
