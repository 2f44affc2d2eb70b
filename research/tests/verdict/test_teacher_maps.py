"""Kept neck maps of a teacher are those that it computes."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.models.teacher.neck_forward import NeckForward
from research.trainings.results import Places
from research.trainings.students import Student
from research.verdict.methods import Setting
from research.verdict.teacher_maps import KeptNeckForward
from research.verdict.trials import Trial

PLACES = Places(Path("work"), Path("data"), Path("weights.pth"))
STUDENT = Student(6e-3, 24)
TEACHER = dict(teacher=dict(cfg_path="configs/demo/teacher.py"), teacher_ckpt="random")


@pytest.fixture
def neck_forward() -> NeckForward:
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = Trial("digits", Setting(), 0, STUDENT).config(PLACES).model
    return NeckForward(build_detector(model).eval(), precision="bf16")


def test_maps_are_the_same_to_the_bit_and_computed_once(neck_forward, tmp_path, monkeypatch):
    images = torch.randn(5, 3, 64, 64)
    wanted = neck_forward(images)["neck"]
    kept = KeptNeckForward(neck_forward, tmp_path / "maps")
    kept(images[[3, 1]])
    computed, compute = [], NeckForward.__call__
    monkeypatch.setattr(NeckForward, "__call__", lambda self, x: (computed.append(len(x)), compute(self, x))[1])
    for order in ([0, 1, 2, 3, 4], [4, 0, 2]):
        for found, of_level in zip(kept(images[order])["neck"], wanted, strict=True):
            torch.testing.assert_close(found, of_level[order], rtol=0, atol=0)
    assert computed == [3] and len(list((tmp_path / "maps").iterdir())) == 5


def test_maps_of_other_parts_are_refused(neck_forward, tmp_path):
    with pytest.raises(ValueError, match=r"a loss reads \['neck', 'backbone'\]"):
        KeptNeckForward(neck_forward, tmp_path)(torch.zeros(1, 3, 64, 64), ["neck", "backbone"])


@pytest.mark.parametrize(
    "pair, student, kept",
    [
        ("deeppcb", STUDENT, True),
        ("deeppcb", Student(6e-3, 24, augmentation="affine"), False),
        ("bccd", STUDENT, False),
    ],
)
def test_maps_are_kept_where_the_pixels_come_again(pair, student, kept):
    config = Trial(pair, Setting("l2"), 0, student).config(PLACES, TEACHER)
    hooks = [dict(type="KeptTeacherMapsHook", folder=str(Path("work") / pair / "maps"))] if kept else []
    assert config.custom_hooks[2:] == hooks
