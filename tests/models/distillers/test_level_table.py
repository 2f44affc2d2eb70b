"""The table of what is compared."""

import pytest

from tests.detectors import build, distillation, raw_batch, retinanet

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
    assert text.startswith("what is compared:\n+ levels +")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[0] == "|"]
    assert rows == [
        ["stride", "student", "teacher", "pcka", "mimic"],
        ["s4", "output 0, 16 channels, 16x24", "no partner", "", ""],
        [
            *("s8", "output 1, 16 channels, 8x12", "output 0, 24 channels"),
            *("weight 10, positions 2, 6 patches of 4, connector 16 -> 24", ""),
        ],
        [
            *("s16", "output 2, 16 channels, 4x6", "output 1, 24 channels"),
            "weight 5, positions 1, 2 patches of 4, too few: inactive, connector 16 -> 24",
            "weight 1, connector 16 -> 24",
        ],
        [
            *("s32", "output 3, 16 channels, 2x3", "output 2, 24 channels"),
            *("weight 10, positions 2, 1 patches of 4, too few: inactive, connector 16 -> 24", ""),
        ],
        ["s64", "no partner", "output 3, 24 channels", "", ""],
    ]
