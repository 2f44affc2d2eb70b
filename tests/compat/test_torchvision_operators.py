"""torchvision imports on a torch that its operators were not built for."""

import pytest

from tests.processes import run_python

TORCHVISION = """
import torch
torch.library.register_fake("torchvision::nms")(lambda dets, scores, threshold: dets)
torch.library.register_fake("torchvision::qnms")(lambda dets, scores, threshold: dets)
"""


@pytest.fixture
def package(tmp_path):
    """A torchvision that describes its operators as the real one does; its library does not load."""
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").write_text(TORCHVISION)
    (folder / "_C.so").write_text("built for CUDA")
    return folder


def test_operators_that_do_not_load_are_declared(package):
    code = """
        import pcka_mmdet, torch, torchvision
        try:
            torch.ops.torchvision.nms(torch.rand(3, 4), torch.rand(3), 0.5)
        except NotImplementedError as error:
            print("not implemented" if "torchvision::nms" in str(error) else error)
        """
    assert run_python(code, PYTHONPATH=str(package.parent)) == "not implemented"


def test_without_a_library_nothing_is_declared(package):
    (package / "_C.so").unlink()
    code = """
        import pcka_mmdet, torch
        from pcka_mmdet.compat import torchvision_operators
        torchvision_operators.apply()
        print(hasattr(torch.ops.torchvision, "nms"))
        """
    assert run_python(code, PYTHONPATH=str(package.parent)) == "False"
