"""Sources: what is recorded of the student, what the teacher gives, and how both are paired."""

import copy
from collections import Counter

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import nn

from pcka_mmdet.models import FPNDistill, LevelLoss
from pcka_mmdet.models.levels import Level, source_levels
from pcka_mmdet.models.sources import SourceRecorder, listed
from pcka_mmdet.registry import MODELS
from tests.detectors import build, faster_rcnn, fcos, losses_of, raw_batch, retinanet, step

KL = dict(type="mmrazor.KLDivergence", loss_weight=1.0)


@MODELS.register_module()
class ProposalLoss(LevelLoss):
    """Squared error of the class scores of proposals, for the tests."""

    source = "roi_head"

    def __init__(self):
        super().__init__(1.0)

    def needs_connector(self, *channels):
        return False

    def forward(self, student, teacher, batch):
        assert torch.equal(student.rois, teacher.rois)
        return (student.cls_score - teacher.cls_score).square().mean()


class Classifier(BaseModel):
    """A classifier with the parts that mmpretrain's have: `backbone`, maybe `neck`, `head`."""

    def __init__(self, width: int, pooled: bool = True, classes: int = 5):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.BatchNorm2d(width), Outputs())
        if pooled:
            self.neck = Pooling()
        self.head = nn.Sequential(Last(), nn.Linear(width, classes))
        self.pooled = pooled

    def extract_feat(self, inputs):
        maps = self.backbone(inputs)
        return self.neck(maps) if self.pooled else tuple(m.mean((2, 3)) for m in maps)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        logits = self.head(self.extract_feat(inputs))
        if mode == "loss":
            return dict(loss=nn.functional.cross_entropy(logits, torch.tensor([s.label for s in data_samples])))
        return logits


class Outputs(nn.Module):
    def forward(self, x):
        return (x.relu(),)


class Pooling(nn.Module):
    def forward(self, maps):
        return tuple(m.mean((2, 3)) for m in maps)


class Last(nn.Module):
    def forward(self, features):
        return features[-1]


def distil(student, teacher, **losses) -> FPNDistill:
    torch.manual_seed(0)
    model = FPNDistill(student, teacher, dict(type="pcka_mmdet.FPNDistiller", losses=losses), "random")
    for parameter in model.teacher.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.train()


def test_the_backbones_maps_are_paired_by_stride():
    losses = dict(maps=dict(type="pcka_mmdet.MimicLoss", source="backbone", strides=(8, 32)))
    model = distil(retinanet(), retinanet(width=12), **losses)
    assert source_levels(model.student, "backbone") == [Level(i, 4 * 2**i, 8 * 2**i) for i in range(4)]
    kept = []
    model.student.backbone.register_forward_hook(lambda module, inputs, maps: kept.extend(maps))
    model.teacher.backbone.register_forward_hook(lambda module, inputs, maps: kept.extend(maps))
    losses = losses_of(model)
    assert [key for key in losses if "distill" in key] == ["distill.loss_maps_s8", "distill.loss_maps_s32"]
    teacher, student = kept[-8:-4], kept[-4:]  # the teacher runs first
    connector = model.distiller.losses["maps_s32"].connector
    torch.testing.assert_close(losses["distill.loss_maps_s32"], (connector(student[3]) - teacher[3]).square().mean())


def test_samples_are_compared_by_the_maps_of_the_backbone():
    model = distil(retinanet(), retinanet(), samples=dict(type="pcka_mmdet.RCKALoss", source="backbone", strides=(8,)))
    images = dict(inputs=raw_batch()["inputs"] * 2, data_samples=raw_batch()["data_samples"] * 2)  # 2 are too few
    loss = model(**model.data_preprocessor(images, True), mode="loss")["distill.loss_samples_s8"]
    loss.backward()
    assert model.student.backbone.conv1.weight.grad.any() and model.student.neck.fpn_convs[0].conv.weight.grad is None


@pytest.mark.parametrize("options", [dict(), dict(teacher_precision="bf16")], ids=str)
def test_neck_and_backbone_in_one_forward_of_the_teacher(options):
    losses = {name: dict(type="pcka_mmdet.MimicLoss", source=name) for name in ("neck", "backbone")}
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    model = FPNDistill(retinanet(), retinanet(), distiller, "random", **options)
    calls = Counter()
    for module in (model.teacher.backbone, model.teacher.neck, model.teacher.bbox_head):
        module.register_forward_hook(lambda module, *_: calls.update([type(module).__name__]))
    assert len([k for k in losses_of(model.train()) if "distill" in k]) == 4 + 4
    before = Counter(calls)
    losses_of(model)
    assert calls - before == Counter(ResNet=1, FPN=1)


def test_raw_outputs_of_a_dense_head():
    student = build(fcos()).train()
    recorder = SourceRecorder(student, ["head", "neck"])
    batch = student.data_preprocessor(raw_batch(), True)
    with recorder.recording() as record:
        student(**batch, mode="loss")
    expected = student.bbox_head(record["neck"])
    assert len(record["head"]) == 4
    for level, outputs in enumerate(record["head"]):
        assert [o.shape[1] for o in outputs] == [2, 4, 1]
        assert all(torch.equal(o, kind[level]) for o, kind in zip(outputs, expected, strict=True))
    student(**batch, mode="loss")
    assert recorder._record is None  # nothing is kept outside of `recording`


def test_the_first_of_several_forwards_is_recorded():
    student = build(retinanet())
    recorder = SourceRecorder(student, ["neck"])
    with recorder.recording() as record:
        first, second = (student.extract_feat(torch.full((1, 3, 64, 64), value)) for value in (0.0, 1.0))
    assert torch.equal(record["neck"][0], first[0]) and not torch.equal(first[0], second[0])


@pytest.mark.parametrize("stages", [(1, 1), (1, 3), (3, 3)], ids=str)
def test_both_roi_heads_get_the_same_proposals(stages):
    student, copied = (faster_rcnn(number) for number in stages)
    model = distil(student, copied, rois=dict(type="pcka_mmdet.ProposalLoss"))
    losses = losses_of(model)
    keys = [key for key in losses if "distill" in key]
    assert keys == ([f"distill.loss_rois_stage{i}" for i in range(3)] if stages[0] == 3 else ["distill.loss_rois"])
    assert all(losses[key] > 0 for key in keys)
    _, log = model.parse_losses(losses)
    torch.testing.assert_close(log["distill.loss_rois"], sum(losses[key] for key in keys).detach())
    step(model, losses)


def test_an_option_by_stride_where_there_are_none():
    kl = dict(type="mmrazor.KLDivergence", source="roi_head", loss_weight={8: 1.0})
    with pytest.raises(ValueError, match="losses.kl.loss_weight: its levels have no strides: give one value"):
        distil(faster_rcnn(), faster_rcnn(), kl=kl)


def test_equal_roi_heads_have_no_loss():
    model = distil(faster_rcnn(), faster_rcnn(), rois=dict(type="pcka_mmdet.ProposalLoss"))
    model.teacher.load_state_dict(model.student.state_dict())
    model.student.backbone.eval()  # batch norm
    torch.testing.assert_close(losses_of(model)["distill.loss_rois"], torch.zeros(()), rtol=0, atol=1e-10)


def test_autocast_does_not_change_the_teachers_heads():
    model = distil(faster_rcnn(), faster_rcnn(), rois=dict(type="pcka_mmdet.ProposalLoss"))
    teacher = model._teacher
    maps = [torch.randn(1, level.channels, 128 // level.stride, 128 // level.stride) for level in teacher._neck_levels]
    maps = [m.bfloat16().float() for m in maps]
    rois = torch.tensor([[0.0, 4, 4, 40, 40], [0, 8, 8, 30, 60]])
    expected = teacher.head(maps), teacher.roi_head(maps, [rois])
    with torch.autocast("cpu", torch.bfloat16):
        half = [m.bfloat16() for m in maps]
        outputs = teacher.head(half), teacher.roi_head(half, [rois.bfloat16()])
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0)  # values and types


@pytest.mark.parametrize("source, idle", [("neck", ["bbox_head"]), ("backbone", ["bbox_head", "neck"])])
def test_nothing_runs_that_no_loss_asks_for(source, idle):
    model = distil(retinanet(), retinanet(), maps=dict(type="pcka_mmdet.MimicLoss", source=source))
    model._teacher.neck_forward.changes = {}  # trying an optimisation runs both parts once
    for part in idle:
        getattr(model.teacher, part).register_forward_pre_hook(lambda *_: pytest.fail("it ran"))
    losses_of(model)


def test_a_copy_leaves_the_teachers_backbone_maps_to_the_original():
    losses = {source: dict(type="pcka_mmdet.MimicLoss", source=source) for source in ("neck", "backbone")}
    model = distil(retinanet(), retinanet(), **losses)
    expected = losses_of(model)
    copied = copy.deepcopy(model)
    copied._teacher._take_copy(torch.device("cpu"))  # as on another device
    torch.testing.assert_close(losses_of(copied)["distill.loss_backbone_s8"], expected["distill.loss_backbone_s8"])
    torch.testing.assert_close(losses_of(model)["distill.loss_backbone_s8"], expected["distill.loss_backbone_s8"])


def test_logits_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="the student has 5 classes or channels, the teacher 7: choose a teacher of"):
        distil(Classifier(8), Classifier(8, classes=7), logits=dict(KL, source="logits"))


@pytest.mark.parametrize("pooled", [True, False])
def test_a_classifier(pooled):
    torch.manual_seed(0)
    losses = dict(logits=dict(KL, source="logits"), maps=dict(type="pcka_mmdet.PCKALoss", source="backbone"))
    losses["maps"] |= dict(patch_size=2)
    model = distil(Classifier(8, pooled), Classifier(12, pooled), **losses)
    images = torch.randn(4, 3, 32, 32)
    samples = [BaseDataElement(label=i) for i in range(4)]
    losses = model(images, samples, mode="loss")
    assert [key for key in losses if "distill" in key] == ["distill.loss_logits", "distill.loss_maps_s4"]
    expected = model.distiller.losses["logits"].loss(copy.deepcopy(model.student)(images), model.teacher.eval()(images))
    torch.testing.assert_close(losses["distill.loss_logits"], expected)
    total, log = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.student.parameters())
    assert log["distill.loss_logits"] > 0 and "similarity.pcka_s4" in log


def test_a_classifiers_head_runs_in_float32_under_autocast():
    model = distil(Classifier(8), Classifier(12), logits=dict(KL, source="logits"))
    with torch.autocast("cpu", torch.bfloat16):
        record = model._teacher(torch.randn(4, 3, 32, 32), None, model._normalisation, {"logits"})
    assert record["neck"][0].dtype == torch.bfloat16 and record["logits"][0].dtype == torch.float32


def test_a_pooling_neck_gives_vectors_without_a_stride():
    (level,) = source_levels(Classifier(8), "neck")
    assert (level.stride, level.channels, level.name) == (None, 8, "stage0")
    model = distil(Classifier(8), Classifier(8), features=dict(type="pcka_mmdet.RCKALoss", source="neck"))
    assert list(model.distiller.losses) == ["features"]
    for kind in ("MimicLoss", "MaskedGenerationLoss"):
        with pytest.raises(ValueError, match=f"{kind} compares maps, and the neck gives vectors: use source='backb"):
            distil(Classifier(8), Classifier(8), maps=dict(type=f"pcka_mmdet.{kind}", source="neck"))
    with pytest.raises(ValueError, match="PCKALoss compares maps, and the neck gives vectors: use source='backbone'"):
        distil(Classifier(8), Classifier(8), pcka=dict(type="pcka_mmdet.PCKALoss"))
    with pytest.raises(
        ValueError, match="vectors of one width, and the student has 8 classes or channels, the teacher"
    ):
        distil(Classifier(8), Classifier(12), l2=dict(type="mmrazor.L2Loss", source="neck"))


def test_sources_that_a_model_lacks():
    for source, message in (
        ("roi_head", "RetinaNet has no RoI head"),
        ("logits", "RetinaNet is no classifier"),
    ):
        with pytest.raises(ValueError, match=message):
            source_levels(build(retinanet()), source)
    with pytest.raises(
        ValueError, match=r"losses.pcka.source: expected one of \('neck', 'backbone', 'memory'\), got 'logits'"
    ):
        distil(retinanet(), retinanet(), pcka=dict(type="pcka_mmdet.PCKALoss", source="logits"))


def test_maps_of_necks_of_any_kind():
    one, copied = torch.zeros(1), torch.ones(1)
    assert listed(one) == [one] and listed((one, copied)) == listed(dict(fine=one, coarse=copied)) == [one, copied]
