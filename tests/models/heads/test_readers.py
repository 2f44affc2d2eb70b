"""The readers: each against MMDetection's prediction, a new family in one class, and heads that are refused."""

import copy
import pickle

import pytest
import torch
from mmdet.models.dense_heads import AnchorFreeHead, RetinaHead
from mmdet.models.utils import multi_apply
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from pcka_mmdet.engine.recipe import suitable_recipe
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.detector_parts import dense_head
from pcka_mmdet.models.heads import HeadOutputs, HeadReader, boxes, reader_of, reads
from pcka_mmdet.models.heads.families import AnchorReader
from pcka_mmdet.models.heads.reader import READERS
from pcka_mmdet.models.losses.head_loss import compare
from pcka_mmdet.models.sources import by_level
from tests.detectors import NUM_CLASSES, build, check_gradients, maps, raw_batch, retinanet, step
from tests.models.losses.test_head_loss import HEADS


def class_scores(level: HeadOutputs) -> torch.Tensor:
    """Scores `(N, C)` of a level: class probability, times the quality if there is one."""
    quality = 1 if level.quality is None else level.quality.sigmoid().unsqueeze(2)
    return (level.logits.sigmoid() * quality).permute(0, 3, 4, 1, 2).flatten(0, 3)


def random_head(config: dict) -> torch.nn.Module:
    head = dense_head(build(config)).eval()
    torch.manual_seed(0)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return head


def decoded(head: torch.nn.Module, relative: torch.Tensor, level: int) -> torch.Tensor:
    """Boxes `(N, 4)` in pixels from those of a reader, `(1, A, 4, H, W)`, in the order of MMDetection's priors."""
    priors = head.prior_generator.single_level_grid_priors(relative.shape[3:], level, torch.float32, "cpu")
    of_anchors = isinstance(reader_of(head), AnchorReader)
    unit = priors[:, 2:] - priors[:, :2] if of_anchors else torch.tensor([[8.0 * 2**level]])
    corners = relative.permute(0, 3, 4, 1, 2).reshape(-1, 2, 2)
    return (corners * unit[:, None] + ((priors[:, :2] + priors[:, -2:]) / 2)[:, None]).flatten(1)


@pytest.mark.parametrize("family", [family for family in HEADS if family != "gfl"])
def test_boxes_and_scores_are_those_of_mmdetections_prediction(family):
    """All but GFL's, whose distributions are compared as they are."""
    head = random_head(HEADS[family]())
    reader = reader_of(head)
    with torch.no_grad():
        outputs = head([m[:1] for m in maps(0)])
        levels = [reader.read(level, 8 * 2**i) for i, level in enumerate(by_level(outputs, 4, family))]
        corners = torch.cat([decoded(head, level.boxes, i) for i, level in enumerate(levels)])
        scores = torch.cat([class_scores(level) for level in levels])
        cfg = ConfigDict(nms_pre=10**6, score_thr=-1.0, nms=dict(type="nms", iou_threshold=1.0), max_per_img=10**6)
        options = dict(cfg=cfg, with_nms=family == "faster r-cnn", rescale=False)
        (expected,) = head.predict_by_feat(*outputs, batch_img_metas=[dict(img_shape=(128, 128))], **options)
    boxes_of, labels = (t.flatten() for t in torch.meshgrid(*map(torch.arange, scores.shape), indexing="ij"))
    if family == "yolox":  # it predicts the best class of a box only
        boxes_of, labels = torch.arange(len(scores)), scores.argmax(1)
    sides = []
    for box, score, label in (
        (corners[boxes_of], scores[boxes_of, labels], labels),
        (expected.bboxes, expected.scores, expected.labels),
    ):  # most families clip to the image, some do not
        sides.append(torch.cat([box.clamp(0, 128), 128 * score[:, None], 128.0 * label[:, None]], 1))
    assert sides[0].shape == sides[1].shape
    distances = torch.cdist(*sides, compute_mode="donot_use_mm_for_euclid_dist")
    assert max(distances.amin(0).max(), distances.amin(1).max()) < 128 * 1e-4


@pytest.mark.parametrize("family", HEADS)
def test_reading_waits_for_no_device_and_uploads_once(family, monkeypatch):
    """Tensors of device meta have no values, so an operation that waits for one raises."""
    head = random_head(HEADS[family]())
    levels = by_level(head([m[:1] for m in maps(0)]), 4, family)
    levels = [[output.to("meta") for output in level] for level in levels]
    reader = reader_of(head.to("meta"))

    def read():
        for index, level in enumerate(levels):
            compare(reader, *[reader.read(level, 8 * 2**index)] * 2)

    def fail(*args, **kwargs):
        raise AssertionError("an upload")

    read()
    misses = boxes.constant.cache_info().misses
    monkeypatch.setattr(torch.Tensor, "new_tensor", fail)
    read()
    assert misses == boxes.constant.cache_info().misses


def test_a_model_that_has_run_is_copied_and_pickled_as_one_that_has_not():
    """The caches are not copied."""
    losses = dict(own=dict(type="pcka_mmdet.OwnHeadLoss"))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    model = FPNDistill(retinanet(), retinanet(), distiller, "random")
    size = len(pickle.dumps(model.distiller))
    step(model, model.train()(**model.data_preprocessor(raw_batch(), True), mode="loss"))
    model.zero_grad()
    model.distiller.losses["own"].similarity = None
    assert len(pickle.dumps(model.distiller)) < 1.1 * size
    copied = copy.deepcopy(model).double().float()
    torch.manual_seed(0)
    batch = raw_batch()
    one, two = (m(**m.data_preprocessor(copy.deepcopy(batch), True), mode="loss") for m in (model, copied))
    torch.testing.assert_close(one["distill.loss_own"], two["distill.loss_own"])


class ToyHead(AnchorFreeHead):
    """Gives the centre of a box and its sides, in units of the stride."""

    def forward(self, x):
        return multi_apply(self.forward_single, x, self.scales)

    def forward_single(self, x, scale):
        logits, codes, *_ = super().forward_single(x)
        return logits, codes

    @property
    def scales(self):
        return self.strides

    def loss_by_feat(self, logits, codes, *args, **kwargs):
        return dict(loss_toy=sum((out**2).mean() for out in (*logits, *codes)))

    def get_targets(self, *args):
        raise NotImplementedError


def toy() -> dict:
    config = retinanet()
    config["bbox_head"] = dict(
        type="ToyHead",
        num_classes=NUM_CLASSES,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32, 64],
    )
    return {**config, "type": "SingleStageDetector", "train_cfg": None}


@pytest.mark.parametrize("gradients_of_one_scale, recipe", [(True, "both-heads"), (False, "teacher-head")])
def test_a_new_family_is_one_class(gradients_of_one_scale, recipe, monkeypatch):
    """Neither the losses nor the choice of a recipe name it."""
    monkeypatch.setitem(MODELS.module_dict, "ToyHead", ToyHead)
    student, teacher = build(toy()), build(toy())
    assert suitable_recipe(student, teacher)[0] == "maps"
    monkeypatch.setitem(READERS, "ToyHead", None)  # so that it is taken out again

    @reads("ToyHead")
    class ToyReader(HeadReader):
        def compared_boxes(self, codes, stride):
            centre, sides = codes.chunk(2, dim=2)
            return torch.cat([centre - sides.abs() / 2, centre + sides.abs() / 2], dim=2)

    ToyReader.gradients_of_one_scale = gradients_of_one_scale
    assert suitable_recipe(student, teacher)[0] == recipe
    losses = dict(head=dict(type="pcka_mmdet.HeadLoss"), own=dict(type="pcka_mmdet.OwnHeadLoss"))
    model = FPNDistill(toy(), toy(), dict(type="pcka_mmdet.FPNDistiller", losses=losses), "random")
    torch.nn.init.normal_(model.teacher.bbox_head.conv_reg.weight, std=0.1)
    step(model, check_gradients(model, raw_batch()))
    level = [torch.zeros(1, NUM_CLASSES, 1, 2), torch.tensor([0.0, 0.0, 2.0, 1.0]).view(1, 4, 1, 1).repeat(1, 1, 1, 2)]
    corners = decoded(model.teacher.bbox_head, reader_of(model.teacher.bbox_head).read(level, 16).boxes, 1)
    assert corners.tolist() == [[-8.0, 0.0, 24.0, 16.0], [8.0, 0.0, 40.0, 16.0]]  # points at (8, 8) and (24, 8)
    with pytest.raises(ValueError, match=r"their heads code boxes in different ways \(RetinaHead and ToyHead\)"):
        FPNDistill(retinanet(), toy(), dict(type="pcka_mmdet.FPNDistiller", losses=losses), "random")


def test_a_derived_head_has_the_reader_of_its_nearest_base():
    class MyHead(RetinaHead):
        pass

    derived = build(retinanet()).bbox_head
    derived.__class__ = MyHead
    assert reader_of(derived).family == "RetinaHead"


@pytest.mark.parametrize(
    "head, family",
    [("PAAHead", "PAAHead"), ("LADHead", "PAAHead"), ("LDHead", "GFLHead"), ("RTMDetSepBNHead", "RTMDetHead")]
    + [("PISARetinaHead", "RetinaHead"), ("NASFCOSHead", "FCOSHead"), ("StageCascadeRPNHead", "RPNHead")]
    + [(name, None) for name in ("TOODHead", "VFNetHead", "ATSSVLFusionHead", "AutoAssignHead", "CondInstBboxHead")]
    + [(name, None) for name in ("RTMDetInsSepBNHead", "YOLOFHead", "SSDHead", "GARetinaHead", "FoveaHead")],
)
def test_the_family_of_mmdetections_heads(head, family):
    instance = torch.nn.Module()
    instance.__class__ = MODELS.get(head)
    if family:
        assert reader_of(instance).family == family
    else:
        with pytest.raises(
            ValueError, match=f"the outputs of {head} are not known, only those of .'ATSSHead', 'FCOSHe"
        ):
            reader_of(instance)


def test_boxes_as_mmdetection_1_coded_them_are_refused():
    """Their codes depend on the anchor's size in pixels."""
    config = retinanet()
    config["bbox_head"]["bbox_coder"] = dict(type="LegacyDeltaXYWHBBoxCoder")
    with pytest.raises(ValueError, match="boxes of this RetinaHead are coded as by MMDetection 1"):
        reader_of(build(config).bbox_head)
