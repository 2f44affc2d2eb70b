"""The frozen teacher: loading, normalisation, freezing."""

import copy
import pickle

import pytest
import torch
from mmengine.structures import BaseDataElement

from pcka_mmdet.checkpoints.matching import load_what_fits
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.models.attempts import OutOfMemoryError
from pcka_mmdet.models.initial_weights import load_strictly
from pcka_mmdet.models.teacher.images import Normalisation, renormalise, size_divisor
from pcka_mmdet.models.teacher.teacher import Teacher
from tests.detectors import build, faster_rcnn, fcos, maps, raw_batch, retinanet

CAFFE = dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "teacher.pth"
    detector = build(retinanet())
    for parameter in detector.parameters():
        torch.nn.init.normal_(parameter)
    torch.save(dict(state_dict=detector.state_dict(), meta={}), path)
    return path, detector


def edit(path, change):
    content = torch.load(path)
    change(content["state_dict"])
    torch.save(content, path)


def test_loads_every_key(checkpoint):
    path, source = checkpoint
    detector = build(retinanet())
    load_strictly(detector, str(path))
    for key, value in detector.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("neck.lateral_convs.0.conv.weight"), "missing neck.lateral_convs.0.conv.weight"),
        (lambda s: s.update({"backbone.extra": torch.zeros(1)}), "unexpected backbone.extra"),
        (
            lambda s: s.update({"backbone.bn1.bias": torch.zeros(3)}),
            r"backbone.bn1.bias: shape \(3\).*\(8\) in the model",
        ),
    ],
)
def test_another_architecture_is_refused(checkpoint, change, message):
    path, _ = checkpoint
    edit(path, change)
    with pytest.raises(ValueError, match=f"of another architecture than the teacher's config, a RetinaNet: {message}"):
        load_strictly(build(retinanet()), str(path))


def test_a_head_that_takes_another_ones_keys_for_its_own_old_names(tmp_path):
    """FCOS renames `retina_cls` to `conv_cls`."""
    weights = build(retinanet()).state_dict()
    weights["bbox_head.retina_cls.weight"] = torch.zeros(7, 16, 3, 3)
    torch.save(weights, tmp_path / "retinanet.pth")
    _, problems = load_strictly(build(fcos()), str(tmp_path / "retinanet.pth"))
    assert any(str(problem).startswith("bbox_head.conv_cls.weight: shape (7, 16, 3, 3) in") for problem in problems)
    del weights["backbone.layer1.0.conv1.weight"]
    torch.save(weights, tmp_path / "partial.pth")
    with pytest.raises(ValueError, match="of another architecture than the teacher's config, a FCOS: missing backbone"):
        load_strictly(build(fcos()), str(tmp_path / "partial.pth"))


def test_another_error_of_loading_is_not_swallowed(monkeypatch):
    model = torch.nn.Linear(1, 1)

    def fail(*args, **kwargs):
        raise RuntimeError("something else")

    monkeypatch.setattr(model, "load_state_dict", fail)
    with pytest.raises(RuntimeError, match="something else"):
        load_what_fits(model, model.state_dict())


def test_a_distillations_checkpoint_is_refused(checkpoint):
    path, source = checkpoint
    torch.save(dict(state_dict={f"architecture.{k}": v for k, v in source.state_dict().items()}), path)
    with pytest.raises(
        ValueError, match=f"is a distillation's checkpoint: give its student, the file student_{path.name}"
    ):
        load_strictly(build(retinanet()), str(path))


def test_a_head_that_differs_warns_and_must_not_run(checkpoint, warned):
    path, source = checkpoint
    edit(path, lambda s: s.update({"bbox_head.retina_cls.bias": torch.zeros(80)}))
    teacher = Teacher(build(retinanet()), str(path), fuse=False, channels_last=False)
    assert any("the teacher's head differs" in text for text in warned)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():  # as the teacher runs: kernels may differ
        expected = source.eval().extract_feat(images)
    maps = teacher(images, None, teacher.normalisation)["neck"]
    assert all(torch.equal(m, e) for m, e in zip(maps, expected, strict=True))
    with pytest.raises(RuntimeError, match="head of the teacher was not loaded.*bbox_head.retina_cls.bias"):
        teacher.detector.bbox_head(maps)


class Joins(torch.nn.Module):
    """A detector whose neck joins maps of strides up to a limit."""

    def __init__(self, stride):
        super().__init__()
        self.stride, self.weight = stride, torch.nn.Parameter(torch.zeros(1))
        self.data_preprocessor = torch.nn.Module()

    def extract_feat(self, images):
        if images.shape[2] % self.stride:
            raise RuntimeError("Sizes of tensors must match")


@pytest.mark.parametrize("stride", [1, 32, 64, 128])
def test_the_divisor_of_a_neck_that_joins_maps(stride):
    assert size_divisor(Joins(stride)) == stride


def test_weights_of_mask_rcnn_without_their_mask_head(tmp_path):
    weights = build(faster_rcnn()).state_dict()
    weights["roi_head.mask_head.conv_logits.bias"] = torch.zeros(7)
    torch.save(weights, tmp_path / "mask_rcnn.pth")
    detector = build(faster_rcnn())
    assert load_strictly(detector, str(tmp_path / "mask_rcnn.pth"))[1] == []
    assert all(torch.equal(value, weights[key]) for key, value in detector.state_dict().items())
    del weights["roi_head.bbox_head.fc_cls.bias"]
    torch.save(weights, tmp_path / "partial.pth")
    problems = load_strictly(build(faster_rcnn()), str(tmp_path / "partial.pth"))[1]
    assert list(map(str, problems)) == ["missing roi_head.bbox_head.fc_cls.bias"]


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="teacher_ckpt .*none.pth' does not exist: give a file or a URL"):
        load_strictly(build(retinanet()), str(tmp_path / "none.pth"))
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="garbage.pth' cannot be read"):
        load_strictly(build(retinanet()), str(garbage))
    path = tmp_path / "other.pth"
    torch.save(dict(epoch=3), path)
    with pytest.raises(ValueError, match="other.pth' holds no weights"):
        load_strictly(build(retinanet()), str(path))


def test_a_hostile_file_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (print, ("code from a file ran",))

    path = tmp_path / "hostile.pth"
    with open(path, "wb") as file:
        pickle.dump(dict(state_dict=Hostile()), file)
    with pytest.raises(ValueError, match="cannot be read"):
        load_strictly(build(retinanet()), str(path))


def test_random_weights_warn_unless_asked_for(warned):
    Teacher(build(retinanet()), "random")
    assert not warned
    Teacher(build(retinanet()))
    assert "random weights: set `teacher_ckpt`" in warned[0]


@pytest.mark.parametrize(
    "student, teacher", [({}, CAFFE), (CAFFE, {}), ({}, dict(mean=None, std=None)), (CAFFE, CAFFE)]
)
def test_each_model_sees_its_own_normalisation(student, teacher):
    """The teacher's input equals what its preprocessor makes of the raw batch."""
    student, teacher = (build(retinanet(**options)).data_preprocessor for options in (student, teacher))
    raw = raw_batch((60, 64), (64, 50))
    seen = student(copy.deepcopy(raw), True)
    expected = teacher(copy.deepcopy(raw), True)
    actual = renormalise(seen["inputs"], seen["data_samples"], Normalisation.of(student), Normalisation.of(teacher))
    torch.testing.assert_close(actual, expected["inputs"], rtol=1e-4, atol=1e-4)
    assert (actual[1, :, :, 50:] == 0).all() and (actual[0, :, 60:] == 0).all()


def test_equal_normalisations_cost_nothing():
    normalisation = Normalisation.of(build(retinanet()).data_preprocessor)
    images = torch.randn(1, 3, 8, 8)
    assert renormalise(images, [BaseDataElement()], normalisation, normalisation) is images


@pytest.mark.parametrize("size", [(70, 96), (64, 96), (33, 65)])
def test_a_teacher_sees_its_own_padding(size):
    """What stands beside the image is the teacher's padding, and its maps are cut to where the image is."""
    teacher = Teacher(build(retinanet(pad_value=7)), "random", fuse=False, channels_last=False)
    assert teacher.divisor == 32
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    maps = teacher(images, None, teacher.normalisation)["neck"]
    assert [m.shape[2:] for m in maps] == [tuple(-(-side // s) for side in size) for s in (8, 16, 32, 64)]
    whole = [-(-side // 32) * 32 for side in size]
    padded = torch.full((2, 3, *whole), 7.0)
    padded[:, :, : size[0], : size[1]] = images
    with torch.no_grad():
        expected = teacher.detector.extract_feat(padded)
    for actual, wanted in zip(maps, expected, strict=True):
        assert torch.equal(actual, wanted[:, :, : actual.shape[2], : actual.shape[3]])


def test_a_teacher_whose_neck_takes_some_sizes_only():
    """An RTMDet's preprocessor says nothing of sizes, and its PAFPN fails at most; an FPN takes all."""
    rtmdet = Teacher(build_detector(dict(cfg_path="mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py")), "random")
    assert rtmdet.divisor == 32
    maps = rtmdet(torch.zeros(1, 3, 70, 90), None, rtmdet.normalisation)["neck"]
    assert [tuple(m.shape[2:]) for m in maps] == [(9, 12), (5, 6), (3, 3)]
    assert Teacher(build(retinanet(pad_size_divisor=1)), "random").divisor == 1


def test_frozen_always():
    teacher = Teacher(build(retinanet()).train(), "random", fuse=False, channels_last=False)
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    before = copy.deepcopy(teacher.detector.state_dict())
    teacher.detector.train()  # as a validation loop might
    maps = [teacher(images, None, teacher.normalisation)["neck"] for _ in range(2)]
    assert not teacher.detector.training
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(*maps, strict=True))
    assert not any(p.requires_grad for p in teacher.detector.parameters())
    assert all(torch.equal(v, before[k]) for k, v in teacher.detector.state_dict().items())
    fused = Teacher(build(retinanet()), "random")
    fused(images, None, fused.normalisation)
    assert not any(p.requires_grad for p in fused.detector.parameters())


def test_copies_share_it_and_moves_keep_its_precision():
    teacher = Teacher(build(retinanet()), "random")
    borrowed = copy.deepcopy({"a": teacher})["a"]
    assert borrowed.detector is teacher.detector
    before = copy.deepcopy(teacher.detector.state_dict())
    teacher.apply(lambda tensor: tensor.half())
    assert all(torch.equal(value, before[key]) for key, value in teacher.detector.state_dict().items())
    borrowed.apply(lambda tensor: tensor.to("meta"))  # an average of the model on another device, by EMAHook
    assert {p.device.type for p in teacher.detector.parameters()} == {"cpu"}
    borrowed(torch.zeros(1, 3, 64, 64, device="meta"), None, teacher.normalisation)  # it runs, with a copy
    assert {p.device.type for p in borrowed.detector.parameters()} == {"meta"}
    assert {p.device.type for p in teacher.detector.parameters()} == {"cpu"}
    teacher.apply(lambda tensor: tensor.to("meta"))
    assert {p.device.type for p in teacher.detector.parameters()} == {"meta"}


def test_a_teacher_without_a_preprocessor_is_warned_about(warned):
    """It would see pixels as they are, whatever it was trained with."""
    config = retinanet()
    config.pop("data_preprocessor", None)
    Teacher(build_detector(config), "random")
    Teacher(build_detector(dict(config, data_preprocessor=dict(type="DetDataPreprocessor"))), "random")
    assert len(warned) == 1 and "sees raw pixels: give it that of its training" in warned[0]


def test_memory_that_ends_in_the_head_is_no_refusal_of_bfloat16(monkeypatch, warned):
    def fail(maps):
        raise OutOfMemoryError("16 GiB are not free")

    teacher = Teacher(build(retinanet()), "random", precision="bf16")
    monkeypatch.setattr(teacher.detector.bbox_head, "forward", fail)
    with pytest.raises(OutOfMemoryError, match="16 GiB"):
        teacher.head(maps(0))
    assert warned == []
