"""Experiments with the product, their settings and results. Nothing in the product imports this folder."""

from pathlib import Path

from pcka_mmdet.configuration.files import carried

CONFIGS = Path(__file__).parent / "configs"
RESULTS = Path(__file__).parent / "results"


def pair_folder(name: str) -> Path:
    """Folder of a pair's `student.py` and `teacher.py`; `demo` is the product's."""
    return carried("configs") / name if name == "demo" else CONFIGS / name
