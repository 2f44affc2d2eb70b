"""The balance of gradients: against the formula in float64, and where a training may go wrong."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn

from pcka_mmdet.models.balance import MOMENTUM, GradientBalance
from pcka_mmdet.models.distillers.terms import group_losses
from tests.detectors import (
    EVERY_KIND,
    build,
    distillation,
    faster_rcnn,
    fcos,
    losses_of,
    raw_batch,
    reppoints,
    retinanet,
    rtmdet,
    step,
    yolox,
)
from tests.runners import runner

SIZES = (2, 3, 4, 4), (2, 3, 2, 2)


def gradients(*scales, seed=0):
    """One random gradient for each level, of the task and of each group; `None` where a scale is."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda size: torch.randn(size, generator=generator)  # noqa: E731
    return [[None if scale is None else scale * draw(size) for size in SIZES] for scale in scales]


def norm(levels):
    return torch.cat([level.double().flatten() for level in levels if level is not None]).norm().item()


def passed(balance, task, *groups):
    """The gradients that reach the maps when task and groups have these."""
    maps = [torch.zeros(size, requires_grad=True) for size in SIZES]
    copies, by_group = balance.fork(maps)
    pairs = [*zip(copies, task, strict=True)]
    for outputs, group in zip(by_group.values(), groups, strict=True):
        pairs += zip(outputs, group, strict=True)
    torch.autograd.backward(*zip(*[pair for pair in pairs if pair[1] is not None], strict=True))
    return [m.grad for m in maps]


def test_the_copies_share_memory_and_values():
    maps = [torch.randn(size) for size in SIZES]
    task, groups = GradientBalance(dict(a=1.0, b=2.0)).fork(maps)
    for copies in (task, groups["a"], groups["b"]):
        assert [c.data_ptr() for c in copies] == [m.data_ptr() for m in maps]


@pytest.mark.parametrize("ratio", [0.2, 1.0, 2.0])
def test_the_norm_is_the_ratio_times_the_tasks(ratio):
    task, group = gradients(1, 30)
    for result, a, b in zip(passed(GradientBalance(dict(all=ratio)), task, group), task, group, strict=True):
        torch.testing.assert_close(result, a + b * float(ratio * norm(task) / norm(group)))


def test_each_kind_of_output_has_its_own_scale():
    """Two kinds of one level: the norm of each is the ratio times the task's of that kind."""
    task, group = gradients(1, 30)
    group[1] = 1e-4 * group[1]
    balance = GradientBalance(dict(all=0.5), kinds=("class", "box"))
    for result, a, b in zip(passed(balance, task, group), task, group, strict=True):
        torch.testing.assert_close(result, a + b * float(0.5 * norm([a]) / norm([b])))
    metrics = balance.metrics()
    assert {key.partition(".")[2] for key in metrics} == {
        f"{what}_all_{kind}" for what in ("ratio", "scale", "cosine") for kind in ("class", "box")
    }
    assert metrics["balance.ratio_all_box"].item() == pytest.approx(norm(group[1:]) / norm(task[1:]), rel=1e-4)
    balance.restart("all")
    assert not balance.averages.any()


def test_the_norms_are_running_averages():
    """Against the bias-corrected averages in float64; factors of schedule and teachers are not averaged."""
    ratios = dict(a=0.5, b=None, c=2.0)
    balance, averages = GradientBalance(ratios), torch.zeros(3, 2, dtype=torch.float64)
    for index, (size, factor) in enumerate([(1, 1.0), (5, 0.5), (0.1, 0.5), (100, 1.0)], start=1):
        factors = dict(a=factor, b=factor, c=factor / 4)
        task, *groups = gradients(size, 3 * factor / size, factor, size**2 * factors["c"], seed=index)
        norms = [[norm(task), norm(group) / factor] for group, factor in zip(groups, factors.values(), strict=True)]
        norms = torch.tensor(norms, dtype=torch.float64)
        averages = MOMENTUM * averages + (1 - MOMENTUM) * norms
        means = averages / (1 - MOMENTUM**index)
        expected = list(task)
        for ratio, group, (task_mean, own_mean) in zip(ratios.values(), groups, means.tolist(), strict=True):
            scale = 1.0 if ratio is None else ratio * task_mean / own_mean
            expected = [total + scale * gradient for total, gradient in zip(expected, group, strict=True)]
        balance.factors = factors
        for result, value in zip(passed(balance, task, *groups), expected, strict=True):
            torch.testing.assert_close(result, value, rtol=0, atol=1e-5 * float(value.abs().max()))


def test_what_is_logged():
    balance = GradientBalance(dict(a=0.5, b=None))
    assert set(balance.metrics()) == {
        f"balance.{what}_{name}" for what in ("ratio", "scale", "cosine") for name in "ab"
    }
    assert not any("loss" in name for name in balance.metrics())
    task, a, b = gradients(1, 4, 2)
    passed(balance, task, a, b)
    result = balance.metrics()
    for name, group in (("a", a), ("b", b)):
        product = sum((x * y).sum() for x, y in zip(task, group, strict=True))
        cosine = product.item() / norm(task) / norm(group)
        assert result[f"balance.cosine_{name}"].item() == pytest.approx(cosine, abs=1e-6)
        assert result[f"balance.ratio_{name}"].item() == pytest.approx(norm(group) / norm(task))
    assert result["balance.scale_a"].item() == pytest.approx(0.5 * norm(task) / norm(a))
    assert result["balance.scale_b"] == 1


def test_the_loss_scale_of_mixed_precision_cancels():
    plain, scaled = GradientBalance(dict(all=1.0)), GradientBalance(dict(all=1.0))
    for seed in range(3):
        sides = gradients(1, 7, seed=seed)
        expected = passed(plain, *sides)
        result = passed(scaled, *[[1024 * level for level in side] for side in sides])
        for a, b in zip(result, expected, strict=True):
            torch.testing.assert_close(a, 1024 * b)


@pytest.mark.parametrize("side", [0, 1], ids=["task", "losses"])
def test_an_overflow_stays_one_and_leaves_the_averages_alone(side):
    balance = GradientBalance(dict(all=1.0))
    passed(balance, *gradients(1, 7))
    before, sides = balance.averages.clone(), gradients(1, 7, seed=1)
    sides[side][0][0, 0, 0, 0] = torch.inf
    assert not torch.isfinite(passed(balance, *sides)[0]).all()  # so the step is skipped
    assert torch.equal(balance.averages, before)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
@pytest.mark.parametrize("scale", [0.0, None, 1e-30, 1e-40], ids=["zero", "none", "tiny", "subnormal"])
def test_a_task_without_gradient_neither_silences_nor_explodes_anything(ratio, scale):
    """As in a batch without boxes: the next steps go on as if it had been a step of little weight."""
    balance, plain = GradientBalance(dict(all=ratio)), GradientBalance(dict(all=ratio))
    for seed in range(5):
        task, group = gradients(1, 10, seed=seed)
        expected = passed(plain, task, group)
        result = passed(balance, task, group)
    task, group = gradients(scale, 10, seed=5)
    result = passed(balance, task, group)
    assert all(f is None or torch.isfinite(f).all() for f in result)
    if ratio:
        assert 0.5 * norm(expected) < norm(result) < 1.1 * norm(expected)
    task, group = gradients(1, 10, seed=6)
    assert norm(passed(balance, task, group)) == pytest.approx(norm(passed(plain, task, group)), rel=0.25)


def test_a_step_without_a_gradient_of_the_task_leaves_the_averages_alone_and_is_named_once(warned):
    balance = GradientBalance(dict(a=1.0, b=None))
    passed(balance, *gradients(1, 10, 10))
    before = balance.averages.clone()
    for scale in (0, None, 0):
        task, group, _ = gradients(scale, 10, None, seed=1)
        result = passed(balance, task, group, [None, None])
        assert norm(result) == pytest.approx(norm(gradients(1)[0]) * norm(group) / norm(gradients(1, 10)[1]), rel=0.01)
    assert torch.equal(balance.averages, before)
    passed(balance, *gradients(1, 10, 10))
    (said,) = warned
    assert said.startswith("balance: the task had no gradient in a step where the losses had one.")


def test_losses_keep_their_weight_until_the_task_has_a_gradient(warned):
    """A product with an average of 0 would silence them."""
    balance = GradientBalance(dict(all=0.5))
    task, group = gradients(0, 10)
    for result, gradient in zip(passed(balance, task, group), group, strict=True):
        assert torch.equal(result, gradient)
    passed(balance, *gradients(1, 10))
    assert len(warned) == 1


def test_at_the_first_step_a_task_without_gradient_is_made_up_for():
    balance = GradientBalance(dict(all=1.0))
    passed(balance, *gradients(0, 10))
    for seed in range(1, 9):
        task, group = gradients(1, 10, seed=seed)
        result = passed(balance, task, group)
    assert norm([f - t for f, t in zip(result, task, strict=True)]) == pytest.approx(norm(task), rel=0.2)


def test_a_paused_distillation_leaves_everything_alone():
    balance = GradientBalance(dict(all=1.0, other=1.0))
    passed(balance, *gradients(1, 10, 10))
    before = balance.averages.clone()
    task, *groups = gradients(1, None, None, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(passed(balance, task, *groups), task, strict=True))
    balance.factors = dict.fromkeys(balance.factors, 0)
    task, *groups = gradients(1, 0, 0, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(passed(balance, task, *groups), task, strict=True))
    assert torch.equal(balance.averages, before)


def test_levels_without_gradient():
    task, group = gradients(1, 10)
    task[1], group[0] = None, None
    first, second = passed(GradientBalance(dict(all=1.0)), task, group)
    torch.testing.assert_close(first, task[0])
    torch.testing.assert_close(second, group[1] * float(norm(task) / norm(group)))


def test_outputs_that_need_no_gradient_get_none_and_count_nowhere():
    """As those of a backbone's frozen stages."""
    maps = [torch.zeros(SIZES[0], requires_grad=True), torch.zeros(SIZES[1])]
    task, groups = GradientBalance(dict(all=1.0)).fork(maps)
    assert [copy.requires_grad for copy in (*task, *groups["all"])] == [True, False] * 2
    (a, _), (b, _) = gradients(1, 10)
    torch.autograd.backward([task[0], groups["all"][0]], [a, b])
    torch.testing.assert_close(maps[0].grad, a + b * float(norm([a]) / norm([b])))


@pytest.mark.parametrize("size", [1e-5, 1e-9], ids=["its scale", "itself"])
def test_a_gradient_that_float16_cannot_hold(size):
    maps = [torch.zeros(shape, dtype=torch.float16, requires_grad=True) for shape in SIZES]
    task, groups = GradientBalance(dict(all=1.0)).fork(maps)
    assert {copy.dtype for copy in groups["all"]} == {torch.float32}
    a, b = gradients(1, 1)
    pairs = [(copy, gradient.half()) for copy, gradient in zip(task, a, strict=True)]
    pairs += [(copy, size * gradient) for copy, gradient in zip(groups["all"], b, strict=True)]
    torch.autograd.backward(*zip(*pairs, strict=True))
    for m, x, y in zip(maps, a, b, strict=True):
        torch.testing.assert_close(m.grad.float(), x + y * float(norm(a) / norm(b)), rtol=0, atol=5e-3)


def test_a_restart_forgets_what_other_teachers_gave():
    balance = GradientBalance(dict(a=1.0, b=1.0))
    for seed in range(3):
        passed(balance, *gradients(1, 1, 1, seed=seed))
    of_b = balance.averages[1].clone()
    balance.restart("a")
    assert torch.equal(balance.averages[1], of_b)
    task, group, second = gradients(1, 100, None, seed=3)
    result = passed(balance, task, group, second)
    assert norm([f - t for f, t in zip(result, task, strict=True)]) == pytest.approx(norm(task), rel=1e-5)


@pytest.mark.parametrize("exponent", [-40, 60])
def test_norms_whose_squares_float32_cannot_hold(exponent):
    """As with the loss scale of mixed precision."""
    task, group = ([2.0**exponent * level for level in side] for side in gradients(1, 30))
    for result, a, b in zip(passed(GradientBalance(dict(all=1.0)), task, group), task, group, strict=True):
        torch.testing.assert_close(
            result, a + b * float(norm(task) / norm(group)), rtol=1e-4, atol=1e-6 * 2.0**exponent
        )


def test_batches_in_which_the_losses_have_no_gradient_do_not_count():
    """As of a loss on objects, where most images have none."""
    balance = GradientBalance(dict(all=1.0))
    for seed in range(20):
        task, group = gradients(1, 0 if seed % 5 else 10, seed=seed)
        result = passed(balance, task, group)
        if seed % 5 == 0:
            added = [f - t for f, t in zip(result, task, strict=True)]
            assert norm(added) == pytest.approx(norm(task), rel=0.2)


def test_the_averages_of_a_checkpoint_belong_to_their_losses():
    one, two = (build(balanced(dict(head=1.0), head=HEAD, **{name: MIMIC})) for name in ("mimic", "another"))
    one.distiller.balances["neck"].average_head.fill_(1)
    loaded = two.load_state_dict(one.state_dict(), strict=False)
    assert not [key for key in (*loaded.missing_keys, *loaded.unexpected_keys) if "balances" in key]
    assert two.distiller.balances["neck"].averages.tolist() == [[1] * 4, [0] * 4]


def test_ratio_0_changes_no_bit():
    task, group = gradients(1, 10)
    task[0][0], group[0][0] = -0.0, torch.inf
    for result, expected in zip(passed(GradientBalance(dict(all=0.0)), task, group), task, strict=True):
        assert torch.equal(result.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("ratio", [-1, float("nan"), float("inf"), "high", [1.0], True])
def test_values_that_are_no_ratio(ratio):
    with pytest.raises(ValueError, match=r"a ratio is a number of 0 or more, such as 1.0; got \{'all'"):
        GradientBalance(dict(all=ratio))


# in a model


HEAD = dict(type="pcka_mmdet.HeadLoss")
MIMIC = dict(type="pcka_mmdet.MimicLoss", loss_weight=3.0)


def balanced(ratio, **losses):
    losses = losses or dict(head=HEAD, mimic=MIMIC)
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=copy.deepcopy(losses))
    balance = None if ratio is None else dict(ratio=ratio)
    return distillation(teacher=retinanet(channels=24), distiller=distiller, balance=balance)


def backward(config, seed=0):
    """A model after one backward pass, and its losses."""
    model = build(config).train()
    torch.manual_seed(seed)
    losses = model(**model.data_preprocessor(raw_batch(), True), mode="loss")
    model.parse_losses(losses)[0].backward()
    return model, losses


def parts(config):
    """Model, maps of its neck, and gradients at copies of these of the task and of each loss, without balance."""
    model, maps, copies = build(config).train(), [], []

    def detached(module, inputs, outputs):
        maps.extend(outputs)
        copies.extend(m.detach().requires_grad_() for m in outputs)
        return tuple(copies)

    model.student.neck.register_forward_hook(detached, prepend=True)
    torch.manual_seed(0)
    losses = model(**model.data_preprocessor(raw_batch(), True), mode="loss")
    sums = {}
    for key, value in losses.items():
        if "loss" in key:
            name = key.split("_")[1] if key.startswith("distill") else "task"
            sums[name] = sums.get(name, 0) + (sum(value) if isinstance(value, list) else value)
    return model, maps, {name: torch.autograd.grad(v, copies, retain_graph=True) for name, v in sums.items()}


@pytest.mark.parametrize("ratio", [0.5, dict(head=2.0, mimic=0.5), dict(head=2.0)], ids=str)
def test_a_step_of_a_detector(ratio):
    """The student's gradient is that of the task, plus each loss's by its scale; that of connectors is not scaled."""
    plain, maps, grads = parts(balanced(None))
    size = {name: norm(levels) for name, levels in grads.items()}
    if isinstance(ratio, dict):
        scales = {name: ratio[name] * size["task"] / size[name] if name in ratio else 1.0 for name in ("head", "mimic")}
    else:
        both = norm([a + b for a, b in zip(grads["head"], grads["mimic"], strict=True)])
        scales = dict.fromkeys(("head", "mimic"), ratio * size["task"] / both)
    total = [
        task + float(scales["head"]) * head + float(scales["mimic"]) * mimic
        for task, head, mimic in zip(grads["task"], grads["head"], grads["mimic"], strict=True)
    ]
    parameters = dict(plain.student.backbone.named_parameters())
    expected = torch.autograd.grad(maps, list(parameters.values()), total, retain_graph=True, allow_unused=True)
    model, _ = backward(balanced(ratio))
    scale = max(e.abs().max() for e in expected if e is not None)
    for parameter, gradient in zip(model.student.backbone.parameters(), expected, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-5 * float(scale))
    full, _ = backward(balanced(None))
    for one, second in zip(model.distiller.losses.parameters(), full.distiller.losses.parameters(), strict=True):
        torch.testing.assert_close(one.grad, second.grad)


def test_the_log_has_ratio_scale_and_cosine():
    model, losses = backward(balanced(dict(head=1.0)))
    keys = {key.removeprefix("balance.") for key in losses if key.startswith("balance.")}
    assert keys == {f"{what}_{name}" for what in ("ratio", "scale", "cosine") for name in ("head", "mimic")}
    _, log = model.parse_losses(model(**model.data_preprocessor(raw_batch(), True), mode="loss"))
    assert log["balance.ratio_mimic"] > 0 and log["balance.scale_mimic"] == 1
    both = log["balance.scale_head"] * log["balance.ratio_head"]
    torch.testing.assert_close(both, torch.ones(()))
    step(model, losses_of(model))


@pytest.mark.parametrize(
    ("detector", "kinds"),
    [
        (retinanet, ["class", "box"]),
        (rtmdet, ["class", "box"]),
        (yolox, ["class", "box", "objectness"]),
        (fcos, ["class", "box", "centerness"]),
        (reppoints, ["class", "first_box", "box"]),
    ],
)
def test_a_heads_kinds_of_outputs_are_scaled_on_their_own(detector, kinds):
    losses = dict(own=dict(type="pcka_mmdet.OwnHeadLoss"), head=dict(type="pcka_mmdet.HeadLoss"))
    distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
    config = distillation(architecture=detector(), teacher=detector(), distiller=distiller)
    model = build(config | dict(balance=dict(ratio=1.0, by_output=True))).train()
    names = {source: list(balance.state_dict()) for source, balance in model.distiller.balances.items()}
    assert names == dict(head=[f"average_all_{kind}" for kind in kinds], neck=["average_all"])
    losses = losses_of(model)
    step(model, losses)
    rows = dict(zip(kinds, model.distiller.balances["head"].averages, strict=True))
    assert all(row[3] > 0 for kind, row in rows.items() if kind != "first_box")  # not compared: it has no gradient


def test_sources_are_balanced_apart():
    losses = dict(head=HEAD, maps=dict(MIMIC, source="backbone"))
    model, losses = backward(balanced(1.0, **losses))
    assert set(model.distiller.balances) == {"neck", "backbone"}
    assert {key for key in losses if "ratio" in key} == {"balance.ratio_all_neck", "balance.ratio_all_backbone"}
    step(model, losses_of(model))


@pytest.mark.parametrize(
    "ratio, message",
    [
        (dict(pcka=1.0), r"balance.ratio: there is no loss \['pcka'\]; there are \['head', 'mimic'\]"),
        (-1.0, "a ratio is a number of 0 or more"),
    ],
)
def test_mistakes(ratio, message):
    with pytest.raises(ValueError, match=message):
        build(balanced(ratio))


def test_the_roi_heads_source_is_refused():
    with pytest.raises(ValueError, match="at the source 'roi_head' cannot be balanced.*name only losses at a"):
        group_losses(dict(rois=1.0), dict(rois="roi_head", maps="neck"))
    assert group_losses(1.0, dict(rois="roi_head", maps="neck"))[0] == dict(maps="all")
    assert group_losses(dict(maps=1.0), dict(rois="roi_head", maps="neck"))[0] == dict(maps="maps")


def trained(config, folder, epochs=2, **options):
    run = runner(copy.deepcopy(config), folder, epochs=epochs, **options)
    run.train()
    return run.model.state_dict()


def assert_equal(one, second):
    for key, value in one.items():
        assert torch.equal(value, second[key]), key


def test_null_measured_losses_without_weight_train_the_student_as_alone(tmp_path):
    config = balanced(0.0, mimic=dict(MIMIC, loss_weight=0.0))
    config["balance"] = dict(ratio=None)
    distilled = trained(config, tmp_path / "distilled")
    alone = trained(retinanet(), tmp_path / "alone")
    assert_equal(alone, {key.removeprefix("architecture."): value for key, value in distilled.items()})


def test_measured_losses_keep_their_weights():
    """Up to rounding, the gradient is that of constant weights, and the norms are in the log."""
    config = balanced(None)
    expected, _ = backward(config)
    config["balance"] = dict(ratio=None)
    model, log = backward(config)
    for one, second in zip(expected.parameters(), model.parameters(), strict=True):
        if one.grad is not None:
            scale = one.grad.abs().max().item()
            torch.testing.assert_close(one.grad, second.grad, rtol=0, atol=1e-4 * scale)
    assert log["balance.scale_all"] == 1


CLIPPED = dict(
    optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-2), clip_grad=dict(max_norm=0.1)),
    custom_hooks=[dict(type="pcka_mmdet.SeparateClippingHook")],
)
BOTH_HEADS = dict(head=HEAD, own=dict(type="pcka_mmdet.OwnHeadLoss"))


@pytest.mark.parametrize(
    "student, losses, options",
    [
        (retinanet, BOTH_HEADS, {}),
        (retinanet, BOTH_HEADS | EVERY_KIND, {}),
        (retinanet, BOTH_HEADS, CLIPPED),
        (reppoints, BOTH_HEADS, CLIPPED),
        (faster_rcnn, BOTH_HEADS, CLIPPED),
    ],
    ids=["", "losses of every kind", "clipped", "reppoints", "faster rcnn"],
)
def test_null_ratio_0_trains_the_student_as_alone(student, losses, options, tmp_path):
    """Connectors and the losses on heads included."""
    config = balanced(0.0, **copy.deepcopy(losses), mimic=MIMIC)
    config |= dict(architecture=student(), teacher=student())
    alone = trained(ConfigDict(student()), tmp_path / "alone", epochs=1, **copy.deepcopy(options))
    distilled = trained(config, tmp_path / "distilled", epochs=1, **copy.deepcopy(options))
    assert_equal(alone, {key.removeprefix("architecture."): value for key, value in distilled.items()})
    for source in ("neck", "head"):
        assert distilled[f"distiller.balances.{source}.average_all"][:2].min() > 0


def test_clipping_by_value_where_no_loss_has_parameters(tmp_path):
    clip = dict(type="value", clip_value=1e-5)
    options = CLIPPED | dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-2), clip_grad=clip))
    alone = trained(ConfigDict(retinanet()), tmp_path / "alone", epochs=1, **copy.deepcopy(options))
    config = balanced(0.0, own=BOTH_HEADS["own"]) | dict(teacher=retinanet())
    distilled = trained(config, tmp_path / "distilled", epochs=1, **copy.deepcopy(options))
    assert_equal(alone, {key.removeprefix("architecture."): value for key, value in distilled.items()})


CHECKPOINTED = dict(cfg=dict(activation_checkpointing=["backbone.layer3", "neck.fpn_convs.0"]))
ACCUMULATED = dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-3), accumulative_counts=3))
HALF = dict(optim_wrapper=dict(type="pcka_mmdet.CpuAmpOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3)))


@pytest.mark.parametrize(
    "options",
    [ACCUMULATED, HALF, dict(custom_hooks=[dict(type="EMAHook")])],
    ids=["accumulated", "bf16", "ema"],
)
def test_resumed_it_ends_bit_equal(tmp_path, options):
    config = balanced(dict(head=1.0, mimic=0.3))
    whole = trained(config, tmp_path / "whole", **options)
    trained(config, tmp_path / "parts", epochs=1, **options)
    assert_equal(whole, trained(config, tmp_path / "parts", resume=True, **options))
    assert whole["distiller.balances.neck.average_head"][:2].min() > 0


def test_activation_checkpointing_changes_nothing(tmp_path):
    config, sgd = balanced(1.0), dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-3)))
    config["architecture"]["backbone"]["norm_eval"] = True  # else batch norms see each batch twice
    whole = trained(config, tmp_path / "whole", **sgd)
    result = trained(config, tmp_path / "checkpointed", **CHECKPOINTED, **sgd)
    for key, value in whole.items():
        torch.testing.assert_close(result[key], value)


def test_each_accumulated_batch_counts():
    """Before the optimizer steps."""
    model = build(balanced(1.0)).train()
    for count in (1, 2):
        model.parse_losses(losses_of(model))[0].backward()
        weight = model.distiller.balances["neck"].averages[0, 3].item()
        assert weight == pytest.approx(1 - MOMENTUM**count)


def test_a_batch_without_boxes_and_a_copied_model():
    model, _ = backward(balanced(1.0))
    copied = copy.deepcopy(model)
    batch = raw_batch()
    for sample in batch["data_samples"]:
        sample.gt_instances = sample.gt_instances[:0]
    before = model.distiller.balances["neck"].averages.clone()
    copied.zero_grad()
    copied.parse_losses(copied(**copied.data_preprocessor(batch, True), mode="loss"))[0].backward()
    assert all(torch.isfinite(p.grad).all() for p in copied.parameters() if p.grad is not None)
    assert torch.equal(model.distiller.balances["neck"].averages, before)
    assert not torch.equal(copied.distiller.balances["neck"].averages, before)


def test_the_published_student_knows_nothing_of_it(tmp_path):
    hook = dict(checkpoint=dict(type="pcka_mmdet.StudentCheckpointHook", interval=1))
    trained(balanced(1.0), tmp_path, epochs=1, default_hooks=hook)
    student = torch.load(tmp_path / "student_epoch_1.pth", weights_only=True)["state_dict"]
    assert set(student) == set(nn.Module.state_dict(build(retinanet())))


def test_a_state_without_averages_leaves_them_alone():
    """MMDetection's SyncNormHook loads the batch norms' state into the model before each validation."""
    balance = GradientBalance(dict(all=1.0))
    passed(balance, *gradients(1, 7))
    before = balance.averages.clone()
    balance.load_state_dict({}, strict=False)
    assert torch.equal(balance.averages, before) and before.any()
