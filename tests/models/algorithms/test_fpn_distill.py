"""FPNDistill in MMEngine's Runner: what it must not change, and what users and MMRazor's hooks rely on."""

import copy
import warnings
import weakref

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import convert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmrazor.engine import StopDistillHook  # noqa: F401  (registers it)

from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.algorithms import nonfinite_guard
from tests.detectors import EVERY_KIND, build, check_gradients, distillation, faster_rcnn, raw_batch, retinanet, step
from tests.runners import runner


def trained(model, tmp_path, **options):
    run = runner(model, tmp_path, **options)
    run.train()
    return run


def losses_of(model, **batch):
    model.train()
    return model(**model.data_preprocessor(raw_batch(**batch), True), mode="loss")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights of the student after an epoch without a teacher."""
    weights = trained(retinanet(), tmp_path_factory.mktemp("alone")).model.state_dict()
    initial = build(retinanet()).state_dict()
    assert any(not torch.equal(value, initial[key]) for key, value in weights.items())
    return weights


@pytest.mark.parametrize("teacher_channels, losses", [(16, {}), (24, {}), (24, EVERY_KIND)])
def test_null_with_no_weight_the_student_trains_as_it_would_alone(tmp_path, alone, teacher_channels, losses):
    config = distillation(teacher=retinanet(channels=teacher_channels))
    config["distiller"]["losses"].update(copy.deepcopy(losses))
    for loss in config["distiller"]["losses"].values():
        loss["loss_weight"] = 0.0
    distilled = trained(config, tmp_path).model.architecture.state_dict()
    for key, value in alone.items():
        assert torch.equal(value, distilled[key]), key


def test_losses_on_the_class_logits_of_a_roi_head_leave_the_task_alone(tmp_path):
    """Its losses of a step are the same, and the random numbers after it. Without weight a training is the same."""
    kinds = dict(rcka=dict(type="pcka_mmdet.RCKALoss"), dist=dict(type="mmrazor.DISTLoss", tau=1.0))
    losses = {name: dict(loss, source="roi_head") for name, loss in kinds.items()}
    config = ConfigDict(distillation(architecture=faster_rcnn(), teacher=faster_rcnn(width=12)))
    config.distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    results = []
    for model in (build(ConfigDict(faster_rcnn())), build(config)):
        torch.manual_seed(1)
        results.append((losses_of(model), torch.rand(1)))
    (alone, after_alone), (distilled, after_distilled) = results
    assert torch.equal(after_alone, after_distilled)
    for key, value in alone.items():
        parts = zip(*(side if isinstance(side, list) else [side] for side in (value, distilled[f"student.{key}"])))
        assert all(torch.equal(one, second) for one, second in parts), key
    assert all(distilled[f"distill.loss_{name}"] > 0 for name in losses)

    for loss in config.distiller.losses.values():
        loss.loss_weight = 0.0
    initial = build(ConfigDict(faster_rcnn())).state_dict()
    alone = trained(ConfigDict(faster_rcnn()), tmp_path / "alone").model.state_dict()
    distilled = trained(config, tmp_path / "distilled").model.architecture.state_dict()
    assert all(torch.equal(value, distilled[key]) for key, value in alone.items())
    assert any(not torch.equal(value, initial[key]) for key, value in alone.items())


def test_the_configs_preprocessor_is_the_students():
    """MMEngine's runner passes it to the model, as to the student alone."""
    config = distillation(data_preprocessor=dict(retinanet()["data_preprocessor"], mean=[1, 2, 3]))
    model = build(config)
    for one in (model, model.student):  # the student's is used
        assert one.data_preprocessor.mean.flatten().tolist() != [1, 2, 3]
    del config["architecture"]["data_preprocessor"]
    model = build(config)
    for one in (model, model.student):
        assert one.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_null_fails_when_a_loss_has_weight(tmp_path, alone):
    """The null test can fail."""
    distilled = trained(distillation(), tmp_path).model.architecture.state_dict()
    assert not torch.equal(alone["neck.lateral_convs.0.conv.weight"], distilled["neck.lateral_convs.0.conv.weight"])


def test_student_is_initialised_as_it_would_be_alone():
    """Weights, and the state of the random generator that is left for the data."""
    results = []
    for config in (retinanet(), distillation()):
        model = build(config)
        model.init_weights()
        results.append((getattr(model, "architecture", model).state_dict(), torch.rand(1)))
    (alone, after_alone), (distilled, after_distilled) = results
    assert torch.equal(after_alone, after_distilled)
    for key, value in alone.items():
        assert torch.equal(value, distilled[key]), key


def test_inplace_activations_of_the_student_stay():
    assert build(distillation()).architecture.backbone.relu.inplace


def test_losses_and_their_sum():
    model = build(distillation())
    losses = losses_of(model)
    assert list(losses) == [
        "student.loss_cls",
        "student.loss_bbox",
        *(f"distill.loss_pcka_s{s}" for s in (8, 16)),
        *(f"distill.loss_mimic_s{s}" for s in (8, 16, 32, 64)),
        *(f"similarity.pcka{level}" for level in ("_s8", "_s16", "")),
        *(f"similarity.mimic{level}" for level in ("_s8", "_s16", "_s32", "_s64", "")),
    ]
    total, log = model.parse_losses(losses)
    parts = [sum(v) if isinstance(v, list) else v for k, v in losses.items() if "loss" in k]
    torch.testing.assert_close(total, sum(parts))
    torch.testing.assert_close(log["distill.loss_pcka"], log["distill.loss_pcka_s8"] + log["distill.loss_pcka_s16"])
    torch.testing.assert_close(log["distill.loss_pcka_s8"], 10 * (1 - losses["similarity.pcka_s8"]))


def test_losses_that_are_measured_without_gradients():
    model = build(distillation())
    with torch.no_grad():
        losses = losses_of(model)
        assert model.parse_losses(losses)[0] > 0
        losses["student.loss_cls"] = torch.tensor(torch.nan)
        with pytest.raises(FloatingPointError, match="these losses are not finite: student.loss_cls. Those of the dis"):
            model.parse_losses(losses)


def test_the_teacher_is_in_nothing_that_is_saved_or_trained(tmp_path):
    run = trained(distillation(), tmp_path)
    model = run.model
    assert not [name for name, _ in model.named_modules() if "teacher" in name]
    teachers = {id(p) for p in model.teacher.parameters()}
    assert not teachers & {id(p) for p in model.parameters()}
    assert not teachers & {id(p) for group in run.optim_wrapper.optimizer.param_groups for p in group["params"]}
    checkpoint = torch.load(tmp_path / "epoch_1.pth")
    assert {key.split(".")[0] for key in checkpoint["state_dict"]} == {"architecture", "distiller"}
    assert len(checkpoint["optimizer"]["state"]) == len(list(model.parameters()))


def test_every_connector_parameter_is_optimised_and_changes(tmp_path):
    config = distillation(teacher=retinanet(channels=24))
    run = runner(config, tmp_path)
    before = {k: v.clone() for k, v in run.model.distiller.state_dict().items()}
    run.train()
    optimised = {id(p) for group in run.optim_wrapper.optimizer.param_groups for p in group["params"]}
    assert len(before) == 2 * (2 + 4)
    for key, parameter in run.model.distiller.named_parameters():
        assert id(parameter) in optimised, key
        assert not torch.equal(parameter, before[key]), key


def test_losses_of_every_kind_train_and_go_on(tmp_path):
    """A gradient at every level they pair, all their parameters change, and a checkpoint holds them."""
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=EVERY_KIND)
    config = distillation(teacher=retinanet(channels=24), distiller=distiller)
    check_gradients(build(config), raw_batch())
    run = runner(config, tmp_path)
    before = {k: v.clone() for k, v in run.model.distiller.state_dict().items()}
    run.train()
    assert {key.split(".")[1] for key in before} == {
        *(f"channels_s{stride}" for stride in (8, 16, 32)),
        *(f"{name}_s{stride}" for name in ("generation", "mmd") for stride in (8, 16)),
        *("head", "attention_s8"),
    }
    saved = torch.load(tmp_path / "epoch_1.pth")["state_dict"]
    for key, value in run.model.distiller.state_dict().items():
        assert not torch.equal(value, before[key]) and torch.equal(saved[f"distiller.{key}"], value), key


def test_options_of_the_runner_reach_the_students_parts(tmp_path):
    """By the names that they have in the student's config."""
    config = distillation()
    for loss in config["distiller"]["losses"].values():
        loss["loss_weight"] = 0.0
    options = dict(activation_checkpointing=["backbone", "neck"])
    alone, distilled = (
        trained(model, tmp_path / name, cfg=options).model for model, name in ((retinanet(), "a"), (config, "b"))
    )
    assert distilled.backbone is distilled.student.backbone
    assert all(hasattr(part.forward, "__wrapped__") for part in (distilled.student.backbone, distilled.student.neck))
    for key, value in alone.state_dict().items():
        assert torch.equal(distilled.student.state_dict()[key], value), key
    assert not hasattr(distilled, "mask_head")


def test_many_gpus_are_not_forked(monkeypatch):
    """`torch.random.fork_rng` would fork the random state of each, in every process, and warn."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.random, "_fork_rng_warned_already", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        build(distillation()).init_weights()


def test_moving_the_model_moves_the_teacher_and_keeps_its_precision():
    model = build(distillation())
    assert model.half() is model
    assert next(model.architecture.parameters()).dtype == torch.float16
    assert {p.dtype for p in model.teacher.parameters()} == {torch.float32}
    model.to("meta")
    assert {p.device.type for p in model.teacher.parameters()} == {"meta"}


def test_synchronised_batch_norm():
    """A student that has it trains in one process as with batch norm; converting it leaves the teacher alone."""
    config = distillation()
    config["architecture"]["backbone"]["norm_cfg"] = dict(type="SyncBN")
    model = build(config)
    step(model, losses_of(model))
    plain = build(distillation())
    converted = convert_sync_batchnorm(plain, "torch")
    assert converted is plain and isinstance(plain.student.backbone.bn1, torch.nn.SyncBatchNorm)
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in plain.teacher.modules())


def test_train_returns_the_model_and_leaves_the_teacher_in_eval_mode():
    model = build(distillation())
    assert model.train() is model
    assert model.architecture.training and not any(m.training for m in model.teacher.modules())


def test_ema_hook_keeps_one_teacher(tmp_path):
    run = trained(distillation(), tmp_path, custom_hooks=[dict(type="EMAHook")])
    average = run._hooks[[type(h).__name__ for h in run._hooks].index("EMAHook")].ema_model.module
    assert average.teacher is run.model.teacher
    assert average.architecture is not run.model.architecture
    losses_of(average)  # its recorder follows its student
    checkpoint = torch.load(tmp_path / "epoch_1.pth")
    assert not [key for part in ("state_dict", "ema_state_dict") for key in checkpoint[part] if "teacher" in key]


def test_stop_distill_hook(tmp_path):
    hook = dict(type="mmrazor.StopDistillHook", stop_epoch=1)
    run = trained(distillation(), tmp_path, epochs=2, custom_hooks=[hook])
    assert run.model.distillation_stopped
    losses = run.message_hub.log_scalars
    pcka, mimic = (losses[f"train/distill.loss_{name}_s8"].data[0] for name in ("pcka", "mimic"))
    assert len(pcka) == len(mimic) == 6
    assert (pcka[:3] > 0).all() and (pcka[3:] == 0).all()
    assert (mimic[:3] > 0).all() and (mimic[3:] == 0).all()


def test_no_teacher_forward_without_weight(monkeypatch):
    config = distillation()
    for loss in config["distiller"]["losses"].values():
        loss["loss_weight"] = 0.0
    model = build(config)
    monkeypatch.setattr(model.teacher, "extract_feat", lambda images: pytest.fail("the teacher ran"))
    losses_of(model)


def test_recorded_maps_are_released():
    model = build(distillation())
    losses_of(model)
    assert model.distiller.recorder._record is None


def test_mmrazor_validation_loop_may_overwrite_the_teachers_preprocessor():
    model = build(distillation(teacher=retinanet(mean=None, std=None)))
    batch = model.data_preprocessor(raw_batch(), True)
    expected = model._teacher(**batch_of(batch), source=model._normalisation)
    model.teacher.data_preprocessor = model.data_preprocessor  # as mmrazor.SingleTeacherDistillValLoop does
    maps = model._teacher(**batch_of(batch), source=model._normalisation)
    assert all(torch.equal(m, e) for m, e in zip(maps["neck"], expected["neck"], strict=True))


def batch_of(batch):
    return dict(images=batch["inputs"], samples=batch["data_samples"])


def test_predictions_are_the_students():
    model = build(distillation()).eval()
    data = raw_batch()
    with torch.no_grad():
        predictions, alone = model.test_step(copy.deepcopy(data)), model.architecture.test_step(copy.deepcopy(data))
    for a, b in zip(predictions, alone, strict=True):
        assert torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes)
        assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)


def test_resolves_from_any_scope_with_no_custom_imports():
    for scope in ("mmdet", "mmrazor"):
        assert isinstance(MODELS.build(dict(distillation(), _scope_=scope)), FPNDistill)


def test_a_level_that_only_one_side_has():
    config = distillation(architecture=retinanet(start_level=0))
    config["distiller"]["strides"] = (4, 8)
    with pytest.raises(ValueError, match=r"no pair of levels at stride \[4\].*in common \[8, 16, 32\]"):
        build(config)


def test_a_detector_without_a_neck():
    with pytest.raises(ValueError, match="RetinaNet has no neck"):
        build(distillation(teacher={**retinanet(), "neck": None}))


def test_mixed_precision():
    model = build(distillation())
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(model)
        total, _ = model.parse_losses(losses)
    total.backward()
    assert all(value.dtype == torch.float32 for key, value in losses.items() if key.startswith("distill."))
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_hooks_of_mmdetection_find_the_student():
    """YOLOXModeSwitchHook changes the head of the model, or of its `detector`."""
    model = build(distillation())
    assert model.detector is model.student


def test_nothing_is_alive_after_a_step():
    """Neither maps nor what the graph kept of them, although the logged values are still held."""
    model = build(distillation())
    alive: list[weakref.ref] = []

    def note(module, inputs, outputs):
        alive.extend(map(weakref.ref, outputs))

    for detector in (model.student, model.teacher):
        detector.neck.register_forward_hook(note)
    optimizer = OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01))
    kept: list[weakref.ref] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(weakref.ref(t)) or t, lambda t: t):
        log = model.train().train_step(raw_batch(), optimizer)
    state = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    assert len(alive) >= 8 and len(kept) > 100 and "loss" in log
    assert not [ref for ref in alive if ref() is not None]
    assert not [ref for ref in kept if ref() is not None and ref().numel() > 1 and id(ref()) not in state]


def test_a_checkpoint_that_balanced_more():
    """Averages of a source that is not balanced any more are left out."""
    before, after = (build(distillation(balance=balance)) for balance in (dict(ratio=1.0), None))
    loaded = after.load_state_dict(before.state_dict(), strict=True)
    assert not loaded.unexpected_keys and len(before.distiller.balances) > len(after.distiller.balances)


def test_of_several_processes_the_one_that_fails_reduces_no_more_gradients(monkeypatch):
    """DDP reduces a parameter's gradient after the parameter's hooks."""
    monkeypatch.setattr(nonfinite_guard, "get_world_size", lambda: 2)
    model = build(distillation())
    batch = raw_batch()
    batch["inputs"][0] = torch.full((3, 64, 64), torch.nan)
    loss, _ = model.parse_losses(model.train()(**model.data_preprocessor(batch, True), mode="loss"))
    with pytest.raises(FloatingPointError, match="these losses are not finite"):
        loss.backward()
    first, *others = model.student.parameters()
    assert first.grad is None and any(p.grad is not None for p in others)
