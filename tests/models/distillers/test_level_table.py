"""The table of levels and losses."""

import pytest

from pcka_mmdet.models.distillers.level_table import level_table
from tests.detectors import EVERY_KIND, build, distillation, raw_batch, retinanet

LOSSES = dict(
    pcka=dict(
        type="pcka_mmdet.PCKALoss", patch_size=4, strides=(8, 16, 32), level_weight={16: 0.5}, position_weight=2.0
    ),
    mimic=dict(type="pcka_mmdet.MimicLoss", strides=(16,)),
)


@pytest.mark.filterwarnings("ignore:loss 'pcka'")
def test_every_level_with_its_partner_losses_and_patches(monkeypatch):
    said = []
    monkeypatch.setattr("pcka_mmdet.models.algorithms.fpn_distill.print_log", lambda text, *_: said.append(text))
    model = build(
        distillation(
            architecture=retinanet(start_level=0),
            teacher=retinanet(channels=24),
            distiller=dict(type="pcka_mmdet.FPNDistiller", losses=LOSSES),
        )
    )
    for _ in range(2):  # it is said once
        model.train()(**model.data_preprocessor(raw_batch((64, 96)), True), mode="loss")
    (text,) = said
    assert text.startswith("compared levels and losses:\n+--")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[0] == "|"]
    assert rows == [
        ["level", "student", "teacher", "pcka", "mimic"],
        ["s4", "output 0, 16 channels, 16x24", "no partner", "", ""],
        [
            *("s8", "output 1, 16 channels, 8x12", "output 0, 24 channels"),
            *("weight 10, positions 2, 6 patches of 4, connector 16 -> 24", ""),
        ],
        [
            *("s16", "output 2, 16 channels, 4x6", "output 1, 24 channels"),
            "weight 10, positions 2, 2 patches of 4, inactive: too small, connector 16 -> 24, level weight 0.5",
            "weight 1, connector 16 -> 24",
        ],
        [
            *("s32", "output 3, 16 channels, 2x3", "output 2, 24 channels"),
            *("weight 10, positions 2, 1 patch of 4, inactive: too small, connector 16 -> 24", ""),
        ],
        ["s64", "no partner", "output 3, 24 channels", "", ""],
    ]


def test_losses_of_every_kind():
    """A row for each level of each source of the student's."""
    losses = dict(EVERY_KIND, backbones=dict(type="pcka_mmdet.MimicLoss", source="backbone", strides=(8,)))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    model = build(distillation(teacher=retinanet(channels=24), distiller=distiller))
    batch = model.data_preprocessor(raw_batch((64, 96)), True)
    with model.distiller.recorder.recording() as student:
        model.student(**batch, mode="loss")
    text = level_table(model.distiller, student)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[0] == "|"]
    connectors = "connectors at s8, s16, s32, s64"
    assert rows[:3] == [
        ["level", "student", "teacher", *losses],
        [
            *("s8", "output 0, 16 channels, 8x12", "output 0, 24 channels; head 0"),
            *("weight 1, connector 16 -> 24", "weight 0.001, 65% masked, connector 16 -> 24"),
            f"weight 1, the teacher's head, {connectors}",
            *("weight 10, 96 patches of 1, connector 16 -> 24", "weight 1, samples of all processes"),
            *("weight 1, mmrazor.ATLoss on maps, 24 patches of 2, connector 16 -> 24", ""),
        ],
        [
            *("s16", "output 1, 16 channels, 4x6", "output 1, 24 channels; head 1"),
            *("weight 1, connector 16 -> 24", "weight 0.001, 65% masked, connector 16 -> 24"),
            f"weight 1, the teacher's head, {connectors}",
            *("weight 10, 24 patches of 1, connector 16 -> 24", "", "", ""),
        ],
    ]
    assert [row[0] for row in rows[1:]] == ["s8", "s16", "s32", "s64", "s4", "s8", "s16", "s32"]
    assert rows[6] == [
        *("s8", "backbone 1, 16 channels, 8x12", "backbone 1, 16 channels", *[""] * 6),
        "weight 1, connector 16 -> 16",
    ]
