"""Metadata of the package, and the `.mim` folder by which `mim train pcka_mmdet CONFIG` finds configs and tools."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "pcka_mmdet"
FOR_MIM = ("configs", "tools", "model-index.yml")


class BuildWithMim(build_py):
    """Put what MIM looks for into `pcka_mmdet/.mim`: copies in a wheel, links in every other installation.

    `pip install -e .` runs neither `develop` nor `sdist`, so the link is made here, in the one command that every
    installation passes through.
    """

    def run(self) -> None:
        if getattr(self, "editable_mode", False):
            link(PACKAGE / ".mim")
        else:
            copy(Path(self.build_lib) / "pcka_mmdet" / ".mim")
        super().run()


def link(mim: Path) -> None:
    """Make a `.mim` that follows the working tree; where links are not allowed (Windows), one that copies it."""
    shutil.rmtree(mim, ignore_errors=True)
    mim.mkdir()
    try:
        for name in FOR_MIM:
            (mim / name).symlink_to(Path("..", "..", name), target_is_directory=(ROOT / name).is_dir())
    except OSError:
        copy(mim)


def copy(mim: Path) -> None:
    """Make a `.mim` of its own, as a wheel needs it."""
    shutil.rmtree(mim, ignore_errors=True)
    mim.mkdir(parents=True)
    for source in filter(Path.exists, (ROOT / name for name in FOR_MIM)):
        if source.is_dir():
            shutil.copytree(source, mim / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, mim)


def read(*parts: str) -> str:
    """Return the text of a file of the repository."""
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def version() -> str:
    """Return the version that the package states; importing it would need torch."""
    return re.search(r'^__version__ = "(.+)"$', read("pcka_mmdet", "__init__.py"), flags=re.MULTILINE).group(1)


def requirements(name: str) -> list[str]:
    """Return the pinned requirements of `requirements/NAME.txt`."""
    lines = (line.split("#")[0].strip() for line in read("requirements", f"{name}.txt").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


setup(
    name="pcka_mmdet",
    version=version(),
    description="Patch-based centered kernel alignment (PCKA) distillation for MMDetection",
    long_description=read("README.md") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=["knowledge distillation", "object detection", "centered kernel alignment", "MMDetection"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    package_data={"pcka_mmdet.report.page": ["page.html"]},
    packages=find_packages(include=["pcka_mmdet", "pcka_mmdet.*"]),
    python_requires=">=3.10,<3.13",
    # In an environment with MMDetection, this adds MMRazor, ordered-set, joblib and its cloudpickle, and changes no
    # installed package. pip would replace an old torch, and the other MM packages exist under two names each:
    # pcka_mmdet/configuration/installed.py says what is missing. MMRazor imports joblib without requiring it.
    install_requires=["mmrazor==1.0.0", "joblib"],
    extras_require={
        **{name: requirements(name) for name in ("runtime", "openmmlab", "onedl", "demo", "onnx", "tests")},
        # MMPretrain needs torchvision, too. Named here, it would replace torch by the newest.
        "classification": [*requirements("classification"), *requirements("classification_openmmlab")],
        "classification-onedl": [*requirements("classification"), *requirements("classification_onedl")],
    },
    entry_points=dict(console_scripts=["pcka-mmdet = pcka_mmdet.cli:main"]),
    cmdclass={"build_py": BuildWithMim},
    zip_safe=False,
)
