"""What the config of a distillation holds."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from pcka_mmdet.checkpoints.resume import training_record
from pcka_mmdet.checkpoints.student import student_config
from pcka_mmdet.configuration.detector import build_detector, model_config
from pcka_mmdet.configuration.distillation import write_out_mmrazor_detectors
from tests.detectors import retinanet

MMDET = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"


def stock(architecture: dict) -> Config:
    """A distillation by MMRazor's own algorithm."""
    neck = dict(neck=dict(type="mmrazor.ModuleOutputs", source="neck"))
    sides = dict(student=dict(recorder="neck", from_student=True), teacher=dict(recorder="neck", from_student=False))
    distiller = dict(
        type="mmrazor.ConfigurableDistiller",
        student_recorders=neck,
        teacher_recorders=neck,
        distill_losses=dict(loss_pcka=dict(type="pcka_mmdet.PCKALoss", patch_size=4)),
        loss_forward_mappings=dict(loss_pcka=sides),
    )
    teacher = dict(cfg_path="mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", pretrained=False)
    return Config(
        dict(
            model=dict(
                type="mmrazor.FpnTeacherDistill", architecture=architecture, teacher=teacher, distiller=distiller
            )
        )
    )


def built(config: Config):
    init_default_scope("mmdet")
    torch.manual_seed(0)
    return MODELS.build(config.model)


def test_mmrazors_algorithm_gets_the_overrides_that_it_would_drop():
    spec = dict(cfg_path="mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", pretrained=False)
    config, plain = stock({**spec, "bbox_head": dict(num_classes=3)}), stock(spec)
    as_it_was = plain.to_dict()
    for each in (config, plain):
        write_out_mmrazor_detectors(each)
    assert plain.to_dict() == as_it_was
    model, other = built(config), built(plain)
    assert (model.student.bbox_head.num_classes, other.student.bbox_head.num_classes) == (3, 80)
    # besides what was overridden it is the detector that MMRazor builds by itself
    assert type(model.data_preprocessor) is type(other.data_preprocessor)
    assert torch.equal(model.data_preprocessor.mean, other.data_preprocessor.mean)
    assert torch.equal(model.student.backbone.conv1.weight, other.student.backbone.conv1.weight)
    weights = other.state_dict()
    differing = [key for key, value in model.state_dict().items() if value.shape != weights[key].shape]
    assert model.state_dict().keys() == weights.keys()
    assert differing == [f"architecture.bbox_head.retina_cls.{name}" for name in ("weight", "bias")]


def test_mmrazors_algorithm_takes_a_path_of_ones_own(tmp_path):
    Config(dict(model=retinanet())).dump(tmp_path / "mine.py")
    config = stock(dict(cfg_path=str(tmp_path / "mine.py")))
    with pytest.raises(ValueError, match="please specify the package name"):
        built(config)
    write_out_mmrazor_detectors(config)
    assert built(config).student.neck.out_channels == 16


def test_published_weights_are_left_to_mmrazor():
    spec = dict(cfg_path=MMDET, pretrained=True)
    config = stock(spec)
    write_out_mmrazor_detectors(config)
    assert config.model.architecture == spec
    with pytest.raises(ValueError, match=r"pretrained=True beside \['bbox_head', 'cfg_path'\].*Write init_cfg=dict"):
        write_out_mmrazor_detectors(stock({**spec, "bbox_head": dict(num_classes=3)}))
    ours = Config(dict(model=dict(type="pcka_mmdet.FPNDistill", architecture=spec, teacher="gone.py")))
    write_out_mmrazor_detectors(ours)
    assert ours.model.architecture == spec  # FPNDistill resolves its own
    with pytest.raises(ValueError, match=r"pretrained=True beside cfg_path='mmdet::.*teacher_ckpt=FILE_OR_URL"):
        build_detector(spec)
    assert model_config(spec).type == "RetinaNet"  # MMRazor's own algorithms may have it


def test_a_config_of_mmrazors_with_published_weights_trains_and_is_exported():
    config = stock(dict(cfg_path=MMDET))
    config.model.teacher.pretrained = True
    write_out_mmrazor_detectors(config)
    assert training_record(config)["model"]["teacher"]["type"] == "RetinaNet"
    assert student_config(config).model.type == "RetinaNet"
    config.model.architecture.pretrained = True
    assert student_config(config).model.type == "RetinaNet"
