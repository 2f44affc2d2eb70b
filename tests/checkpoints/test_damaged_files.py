"""Damaged checkpoints, from fixed seeds: each ends in a sentence, and none is loaded with wrong numbers."""

import io
import random
import zipfile

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from pcka_mmdet.checkpoints.files import read_weights
from pcka_mmdet.checkpoints.resume import checkpoint_to_resume
from pcka_mmdet.checkpoints.student import read_student
from pcka_mmdet.engine.nonfinite import read_batch
from tests.detectors import build, retinanet

SENTENCES = (ValueError, FileNotFoundError)


@pytest.fixture(scope="module")
def content() -> dict:
    """What a training of the student alone writes, without its log."""
    torch.manual_seed(0)
    weights = build(retinanet(width=4)).state_dict()
    meta = dict(cfg=Config(dict(model=retinanet(width=4))).pretty_text, epoch=1, dataset_meta=dict(classes=("a", "b")))
    return dict(state_dict=weights, meta=meta, optimizer=dict(state={}), message_hub={})


def saved(content, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def read(path) -> dict | None:
    """The weights as all readers give them; `None` if all refuse the file with a sentence."""
    found = []
    for reader in (lambda: read_weights(str(path))[0], lambda: read_student(str(path))[0]["state_dict"]):
        try:
            found.append(reader())
        except SENTENCES as error:
            assert len(str(error)) > 40, error
    for reader in (lambda: checkpoint_to_resume(str(path), path.parent), lambda: read_batch(str(path))):
        try:
            reader()
        except SENTENCES as error:
            assert path.name in str(error)
    assert all(weights.keys() == found[0].keys() for weights in found)
    return found[0] if found else None


def flipped(content: bytes, bits: list[int]) -> bytes:
    damaged = bytearray(content)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_flipped_bits_are_found_or_do_no_harm(tmp_path, content):
    """A third of them in the numbers of one tensor, a third anywhere, a third in the zip's directory."""
    whole, draw, refused = saved(content), random.Random(0), 0
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    numbers = range(8 * (largest.header_offset + 200), 8 * (largest.header_offset + largest.file_size))
    places = [numbers, range(8 * len(whole)), range(8 * whole.rindex(b"PK\1\2", 0, -5000), 8 * len(whole))]
    for number in range(120):
        path = tmp_path / f"epoch_{number}.pth"
        path.write_bytes(flipped(whole, draw.sample(places[number % 3], draw.randint(1, 4))))
        weights = read(path)
        refused += weights is None
        assert weights is None or number % 3 > 0
        for key, value in (weights or {}).items():
            torch.testing.assert_close(value, content["state_dict"][key], rtol=0, atol=0, msg=f"{number} {key}")
        if weights is None:  # what MMEngine reads itself: `load_from`, initial weights
            with pytest.raises((*SENTENCES, RuntimeError)):
                CheckpointLoader.load_checkpoint(str(path), "cpu", logger=None)
        path.unlink()
    assert refused > 60


@pytest.mark.parametrize("options", [{}, dict(_use_new_zipfile_serialization=False)], ids=["zip", "old"])
def test_files_that_are_cut_or_overwritten(tmp_path, content, options):
    whole, draw = saved(content, **options), random.Random(1)
    for number in range(16):
        start = draw.randrange(len(whole))
        end = min(len(whole), start + draw.choice([1000, 100_000]))
        path = tmp_path / f"epoch_{number}.pth"
        path.write_bytes(whole[:start] if number % 2 else whole[:start] + bytes(end - start) + whole[end:])
        assert read(path) is None or options or path.read_bytes() == whole
        path.unlink()


def spoilt(node, draw: random.Random):
    """The content with one of its values, at any depth, replaced by another type's."""
    if isinstance(node, dict) and node and draw.random() < 0.8:
        key = draw.choice(list(node))
        return {**node, key: spoilt(node[key], draw)}
    return draw.choice([{}, [], None, "text", 7, float("nan"), torch.zeros(2, 3), {"a": "text"}, {3: torch.ones(1)}])


def test_values_of_another_type(tmp_path, content):
    draw, accepted = random.Random(2), 0
    for number in range(40):
        path = tmp_path / f"epoch_{number}.pth"
        path.write_bytes(saved(spoilt(content, draw)))
        accepted += read(path) is not None
        path.unlink()
    assert accepted < 30


def test_stored_configs_of_another_form(tmp_path, content):
    """The text of a config is cut anywhere, or has another word in a value's place."""
    text, draw = content["meta"]["cfg"], random.Random(3)
    for number in range(20):
        words = text.split(" ")
        if number % 2:
            words = words[: draw.randrange(len(words))]
        else:
            words[draw.randrange(len(words))] = draw.choice(
                ["3,", "None,", "{},", "'x',", "-'a',", "[1]*9,", "model=7\n"]
            )
        path = tmp_path / f"epoch_{number}.pth"
        path.write_bytes(saved({**content, "meta": dict(cfg=" ".join(words))}))
        read(path)
        path.unlink()
    for model in ("model = 7", "model = dict(architecture=3)", "model = [1]"):
        path = tmp_path / "epoch_1.pth"
        path.write_bytes(saved({**content, "meta": dict(cfg=model)}))
        with pytest.raises(ValueError, match="stored config"):
            read_student(str(path))
