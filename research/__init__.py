"""Experiments with the product, their settings and results. Nothing in the product imports this folder."""

import hashlib
from pathlib import Path

import pcka_mmdet
from pcka_mmdet.configuration.files import carried

CONFIGS = Path(__file__).parent / "configs"
RESULTS = Path(__file__).parent / "results"


def pair_folder(name: str) -> Path:
    """Folder of a pair's `student.py` and `teacher.py`; `demo` is the product's."""
    return carried("configs") / name if name == "demo" else CONFIGS / name


def code_sha256() -> str:
    """Digest of the product's code, which results depend on."""
    digest = hashlib.sha256()
    for path in sorted(Path(pcka_mmdet.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
