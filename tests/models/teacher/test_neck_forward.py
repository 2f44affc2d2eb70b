"""What makes the teacher fast leaves its maps as they are."""

import pytest
import torch
from torch import nn

from pcka_mmdet.models import attempts
from pcka_mmdet.models.attempts import OutOfMemoryError
from pcka_mmdet.models.teacher import optimisation
from pcka_mmdet.models.teacher.neck_forward import NeckForward
from pcka_mmdet.models.teacher.optimisation import FUSED
from tests.detectors import build, distillation, raw_batch, retinanet

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def trained(config=None):
    """A detector in eval mode whose batch norms do something."""
    detector = build(config or retinanet()).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return detector


def batch_norms(detector):
    return [module for module in detector.backbone.modules() if isinstance(module, nn.BatchNorm2d)]


def assert_close(maps, expected, tolerance):
    for actual, wanted in zip(maps, expected, strict=True):
        assert actual.dtype == torch.float32 and not actual.requires_grad
        assert (actual - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        (dict(fuse=False, channels_last=False), 0),
        (dict(channels_last=False), 1e-4),
        (dict(), 1e-4),
        (dict(precision="bf16", channels_last=False), 0.05),
        (dict(precision="bf16"), 0.05),
        (dict(precision="fp16"), 0.01),
    ],
    ids=str,
)
def test_maps_are_those_of_the_plain_detector(options, tolerance):
    detector = trained()
    expected = detector.extract_feat(IMAGES)
    forward = NeckForward(detector, **options)
    for _ in range(2):
        maps = forward(IMAGES)["neck"]
        assert_close(maps, expected, tolerance)
        assert all(m.is_contiguous() for m in maps)
    assert bool(batch_norms(detector)) == (options.get("fuse") is False)
    assert_close(detector.extract_feat(IMAGES), expected, 1e-4)  # whatever else runs it, as its head does


def test_a_compiled_teacher(monkeypatch):
    compiled = []
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f: compiled.append(f) or real(f, backend="eager"))
    detector = trained()
    expected = detector.extract_feat(IMAGES)
    forward = NeckForward(detector, compile=True)
    assert_close(forward(IMAGES)["neck"], expected, 1e-4)
    assert len(compiled) == 2
    assert_close(forward(IMAGES, ("backbone", "neck"))["backbone"], detector.backbone(IMAGES), 1e-4)


class Standardised(nn.Conv2d):
    """A convolution that changes its weights as it runs: its batch norm must not be folded into them."""

    def forward(self, x):
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


def test_batch_norms_stay_where_fusing_would_change_the_maps(warned):
    detector = trained()
    conv = detector.backbone.conv1
    detector.backbone.conv1 = Standardised(3, 8, 7, conv.stride, conv.padding, bias=False)
    expected = detector.extract_feat(IMAGES)
    assert_close(NeckForward(detector, channels_last=False)(IMAGES)["neck"], expected, 0)
    assert batch_norms(detector)
    assert len(warned) == 1 and "runs without 'batch norms fused': map 0 would differ by" in warned[0]


class TakesChannelsForGranted(nn.Identity):
    """An operator that reads memory as if channels were outermost, or refuses another format, as MMCV's do."""

    def __init__(self, refuses):
        super().__init__()
        self.refuses = refuses

    def forward(self, x):
        if self.refuses and not x.is_contiguous():
            raise RuntimeError("input must be contiguous")
        return x if x.is_contiguous() else x.permute(0, 2, 3, 1).reshape(x.shape)


@pytest.mark.parametrize("refuses", [False, True])
def test_channels_stay_where_an_operator_takes_their_order_for_granted(refuses):
    detector = trained()
    detector.backbone.relu = TakesChannelsForGranted(refuses)
    expected = detector.extract_feat(IMAGES)
    assert_close(NeckForward(detector)(IMAGES)["neck"], expected, 1e-4)
    assert detector.backbone.layer1[0].conv1.weight.is_contiguous() and not batch_norms(detector)


class Wants(nn.Identity):
    """Maps of at least so many positions, or numbers of a precision."""

    def __init__(self, side=0, dtype=None):
        super().__init__()
        self.side, self.dtype = side, dtype

    def forward(self, x):
        if x.shape[-1] < self.side or x.dtype != (self.dtype or x.dtype):
            raise RuntimeError("not this input")
        return x


def test_a_detector_for_large_images_alone_is_fused_too():
    detector = trained()
    detector.backbone.conv1.register_forward_pre_hook(lambda module, inputs: Wants(side=300)(*inputs))
    images = torch.randn(1, 3, 64, 320, generator=torch.Generator().manual_seed(0))
    expected = detector.extract_feat(images)
    assert_close(NeckForward(detector)(images)["neck"], expected, 1e-4)
    assert not batch_norms(detector)


def test_where_nothing_can_be_tried_nothing_is_changed(warned):
    detector = trained()
    detector.backbone.relu = Wants(dtype=torch.float32)
    expected = detector.extract_feat(IMAGES)
    assert_close(NeckForward(detector)(IMAGES)["neck"], expected, 0)
    assert warned == ["the teacher is not optimised: it fails in float64 (not this input)"] and batch_norms(detector)


@pytest.mark.parametrize("error", [RuntimeError, TypeError])
def test_a_device_without_float64(monkeypatch, error):
    """Apple's MPS raises TypeError where it is asked for float64."""

    def refuse(*_):
        raise error("no float64 here")

    detector = trained()
    expected = detector.extract_feat(IMAGES)
    monkeypatch.setattr(optimisation, "_exact_maps", refuse)
    assert_close(NeckForward(detector)(IMAGES)["neck"], expected, 0)


def test_an_operator_that_refuses_the_precision(warned):
    """MMCV's deformable convolution has no bfloat16 on the CPU: the teacher runs in float32, and says so."""
    config = retinanet()
    dcn = dict(dcn=dict(type="DCNv2", deform_groups=1), stage_with_dcn=(False, False, False, True))
    config["backbone"].update(depth=50, **dcn)  # BasicBlock has none
    config["neck"]["in_channels"] = [32, 64, 128, 256]
    detector = build(config).eval().requires_grad_(False)
    expected = detector.extract_feat(IMAGES)
    assert_close(NeckForward(detector, precision="bf16")(IMAGES)["neck"], expected, 1e-4)
    assert any("the teacher runs in fp32: torch.bfloat16 fails" in message for message in warned)


def test_a_reduced_precision_copies_backbone_and_neck_alone():
    detector = trained()
    forward = NeckForward(detector, precision="bf16")
    forward(IMAGES)
    used = forward.optimised
    assert used.bbox_head is detector.bbox_head and used.backbone is not detector.backbone
    assert next(detector.backbone.parameters()).dtype == torch.float32


def test_a_student_cannot_inherit_from_a_teacher_that_has_run():
    model = build(distillation(inherit=["backbone"], teacher=retinanet()))
    model.init_weights()
    model(**model.data_preprocessor(raw_batch(), True), mode="loss")
    with pytest.raises(RuntimeError, match="inherit: the teacher has run already"):
        model.init_weights()


def test_weights_are_fused_after_a_student_could_inherit_them():
    model = build(distillation())
    keys = set(model.teacher.state_dict())
    assert "backbone.bn1.weight" in keys
    model(**model.data_preprocessor(raw_batch(), True), mode="loss")
    assert "backbone.bn1.weight" not in model.teacher.state_dict()


def test_moved_weights_are_taken_up():
    detector = trained()
    forward = NeckForward(detector, precision="bf16")
    before = forward(IMAGES)["neck"]
    for parameter in detector.neck.parameters():
        parameter.mul_(2)
    assert_close(forward(IMAGES)["neck"], before, 0)
    forward.optimised = None
    assert_close(forward(IMAGES)["neck"], detector.extract_feat(IMAGES), 0.05)


def test_options_reach_the_teacher():
    options = dict(fuse_teacher=False, teacher_precision="bf16", compile_teacher=True)
    forward = build(distillation(**options))._teacher.neck_forward
    assert (list(forward.changes), forward.precision, forward.compile) == (["channels last"], "bf16", True)
    with pytest.raises(ValueError, match=r"must be one of \['auto', 'fp32', 'bf16', 'fp16'\], got 'half'"):
        build(distillation(teacher_precision="half"))
    plain = build(distillation(teacher_channels_last=False))._teacher.neck_forward
    assert list(plain.changes) == ["batch norms fused"]


@pytest.mark.parametrize("supported", [False, True], ids=str)
def test_auto_goes_by_the_processor(monkeypatch, supported):
    said = []
    monkeypatch.setattr(optimisation, "has_bfloat16", lambda device: supported)
    monkeypatch.setattr(optimisation, "print_log", lambda message, *a, **k: said.append(message))
    detector = trained()
    expected = detector.extract_feat(IMAGES)
    forward = NeckForward(detector, precision="auto")
    maps = forward(IMAGES)["neck"]
    assert_close(maps, expected, 0.05 if supported else 1e-4)
    largest = max(
        (actual - wanted).abs().max() / wanted.abs().max() for actual, wanted in zip(maps, expected, strict=True)
    )
    assert (largest > 1e-4) == supported
    assert forward.dtype is (torch.bfloat16 if supported else None)
    forward(IMAGES)
    assert ["the teacher computes in bfloat16" in message for message in said] == [True] * supported


class FullMemory(nn.Module):
    """Memory ends where it runs for the `at`-th time."""

    def __init__(self, module, at):
        super().__init__()
        self.module, self.at, self.calls = module, at, 0

    def forward(self, images):
        self.calls += 1
        if self.calls == self.at:
            raise OutOfMemoryError("16 GiB are not free")
        return self.module(images)

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("options", [{}, dict(fuse=False, channels_last=False, precision="bf16")], ids=str)
@pytest.mark.parametrize("at", [1, 2])
def test_memory_that_ends_is_no_operator_that_is_not_supported(options, at, warned):
    detector = trained()
    detector.backbone = FullMemory(detector.backbone, at)
    with pytest.raises(OutOfMemoryError, match="16 GiB"):
        NeckForward(detector, **options)(IMAGES)
    assert warned == []


@pytest.mark.parametrize("refusal", ["", "another processor"])
def test_the_first_process_decides_about_the_precision(monkeypatch, refusal, warned):
    """What the second one would find does not count."""
    monkeypatch.setattr(attempts, "is_main_process", lambda: False)
    monkeypatch.setattr(attempts, "broadcast_object_list", lambda result: result.__setitem__(0, refusal))
    detector = trained()
    if not refusal:
        detector.backbone.register_forward_pre_hook(lambda *_: pytest.fail("it tried"))
    forward = NeckForward(detector, fuse=False, channels_last=False, precision="bf16")
    forward._optimise(IMAGES[:1])
    assert forward.dtype is (None if refusal else torch.bfloat16)
    assert [refusal in message for message in warned] == [True] * bool(refusal)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_decides_what_is_kept(monkeypatch, rank):
    """The second one makes the same changes without a try."""
    tried = []
    detector = trained()
    monkeypatch.setattr(attempts, "is_main_process", lambda: rank == 0)
    monkeypatch.setattr(optimisation, "is_main_process", lambda: rank == 0)
    monkeypatch.setattr(attempts, "broadcast_object_list", lambda supported: supported.__setitem__(0, [FUSED]))
    monkeypatch.setattr(optimisation, "_probe", lambda *args: tried.append(args) or (IMAGES[:1], ()))
    monkeypatch.setattr(optimisation, "_difference", lambda *maps: None if rank else "of this test")
    expected = detector.extract_feat(IMAGES)
    assert_close(NeckForward(detector)(IMAGES)["neck"], expected, 1e-4)
    assert len(tried) == 1 - rank and bool(batch_norms(detector)) == (rank == 0)
