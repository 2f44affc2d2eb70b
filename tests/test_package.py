"""What `import pcka_mmdet` costs, and what an installation holds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pcka_mmdet
from tests.processes import ROOT, run_python

HEAVY = ["mmdet", "mmrazor.models", "mmengine.runner", "matplotlib", "sklearn", "skimage", "scipy", "pycocotools"]


def test_import_leaves_heavy_modules_alone() -> None:
    """A time would say more and hold on one machine only; the modules that cost the time are the same everywhere."""
    imported = run_python(
        f"""
        import torch, mmengine, mmcv, sys
        before = set(sys.modules)
        import pcka_mmdet
        print(*[name for name in {HEAVY!r} if name in set(sys.modules) - before])
        """
    )
    assert imported == ""


def test_all_but_the_work_on_detectors_runs_without_mmdetection(tmp_path: Path) -> None:
    """A classifier is to be distilled where MMDetection is not installed. MMRazor imports it where it is."""
    (tmp_path / "annotations.json").write_text("[]")
    run_python(
        f"""
        import importlib, pkgutil, sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.partition('.')[0] == 'mmdet':
                    raise ImportError(f'{{name}} is blocked')

        sys.meta_path.insert(0, Blocker())
        import torch
        from mmengine.config import Config
        from mmengine.dataset import BaseDataset
        from mmengine.structures import BaseDataElement
        import pcka_mmdet

        for room in ('checkpoints', 'configuration', 'engine', 'models', 'report'):
            package = importlib.import_module(f'pcka_mmdet.{{room}}')
            for module in pkgutil.walk_packages(package.__path__, f'{{package.__name__}}.'):
                importlib.import_module(module.name)

        from pcka_mmdet.cli import make_parser, test, train
        args = make_parser('train').parse_args(['train', 'unused.py', '--amp', '--work-dir', {str(tmp_path)!r}])
        config = Config(dict(optim_wrapper=dict(type='OptimWrapper'), work_dir='unused'))
        train.TrainingOptions(amp=args.amp).apply(config)
        assert 'AmpOptimWrapper' in config.optim_wrapper.type

        from pcka_mmdet.engine.checks import preflight
        data = dict(type=BaseDataset, ann_file={str(tmp_path / "annotations.json")!r})
        preflight.check_annotations(Config(dict(model=dict(type='Classifier'), train_dataloader=dict(dataset=data))))

        from pcka_mmdet.engine.nonfinite import _plain_sample, _sample
        sample = _sample(_plain_sample(BaseDataElement(metainfo=dict(img_shape=(8, 8)), gt_label=torch.tensor([3]))))
        assert sample.gt_label.tolist() == [3] and sample.img_shape == (8, 8)
        """
    )


def test_version_is_stated_once_and_read_by_setup() -> None:
    stated = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert stated.stdout.strip() == pcka_mmdet.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {pcka_mmdet.__version__}\n" in citation


def test_mim_finds_configs_and_tools() -> None:
    """`mim train pcka_mmdet CONFIG` looks into `.mim`; an editable installation links it to the working tree."""
    mim = Path(pcka_mmdet.__file__).parent / ".mim"
    if not mim.exists():
        pytest.skip("pcka_mmdet is imported from its folder and not installed (`make install` does)")
    assert (mim / "configs").is_dir()
    assert (mim / "tools").is_dir()


def test_wheel_holds_configs_and_tools(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-base", tmp_path, "egg_info", "--egg-base", tmp_path],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    mim = tmp_path / "lib" / "pcka_mmdet" / ".mim"
    sources = {path.relative_to(ROOT) for name in ("configs", "tools") for path in (ROOT / name).rglob("*.py")}
    assert sources == {path.relative_to(mim) for path in mim.rglob("*.py")}
    assert (mim.parent / "report" / "page" / "page.html").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_requirements_are_pinned(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-c ")):
            assert re.match(r'[a-z0-9-]+==[\w.]+( ; python_version (>=|<) "3\.11")?(  # .+)?$', line), line
