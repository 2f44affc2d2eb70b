"""FPNDistiller: what is built, the losses of a step, and the errors."""

import copy
import re
import warnings

import pytest
import torch
from mmengine.logging import MessageHub

from pcka_mmdet.models import FPNDistiller, PCKALoss
from pcka_mmdet.models.algorithms.nonfinite_guard import explain
from pcka_mmdet.models.distillers import fpn_distiller
from pcka_mmdet.models.distillers.fpn_distiller import TeacherStep
from pcka_mmdet.models.losses.level_loss import Batch
from pcka_mmdet.registry import MODELS
from tests.detectors import build, retinanet

PCKA = dict(type="pcka_mmdet.PCKALoss", patch_size=2)
MIMIC = dict(type="pcka_mmdet.MimicLoss")


def distiller(losses, student=None, teacher=None, **options):
    result = FPNDistiller(losses, **options)
    result.prepare(build(student or retinanet()), [build(teacher or retinanet())])
    return result


def step_of(teacher):
    """A step in which only the neck is read."""
    record = None if teacher is None else dict(neck=teacher)
    return TeacherStep(record, Batch(None, (128, 128), None, None))


def compare(distiller, student, teacher):
    """Losses of a step in which only the necks are read."""
    return distiller.compute_distill_losses(dict(neck=student), [step_of(teacher)])


def explained(distiller, student, *teachers):
    """The message about losses that are not finite."""
    record, steps = dict(neck=student), [step_of(teacher) for teacher in teachers]
    losses = distiller.compute_distill_losses(record, steps)
    return explain(losses, distiller.all_terms, record, [step.record for step in steps])


def connectors(distiller):
    return {key: loss.connector for key, loss in distiller.losses.items() if loss.connector is not None}


def maps(sides=(16, 8, 4, 2), channels=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, channels, side, side, generator=generator) for side in sides)


def test_one_loss_a_level_with_plain_numbers():
    d = distiller(
        dict(
            pcka=dict(**{**PCKA, "patch_size": {8: 4, 16: 2}}, strides=(8, 16), level_weight={16: 0.5}),
            mimic=MIMIC,
        )
    )
    assert list(d.losses) == ["pcka_s8", "pcka_s16", "mimic_s8", "mimic_s16", "mimic_s32", "mimic_s64"]
    assert [d.losses[key].patch_size for key in ("pcka_s8", "pcka_s16")] == [4, 2]
    assert list(connectors(d)) == ["mimic_s8", "mimic_s16", "mimic_s32", "mimic_s64"]
    student, teacher = maps(), maps(seed=1)
    results = compare(d, student, teacher)
    assert list(results)[:6] == [f"loss_{key}" for key in d.losses]
    assert list(results)[6:9] == ["similarity.pcka_s8", "similarity.pcka_s16", "similarity.pcka"]
    assert list(results)[9:] == [f"similarity.mimic{level}" for level in ("_s8", "_s16", "_s32", "_s64", "")]
    mean = (results["similarity.pcka_s8"] + results["similarity.pcka_s16"]) / 2
    torch.testing.assert_close(results["similarity.pcka"], mean)
    torch.testing.assert_close(results["loss_pcka_s16"], 0.5 * d.losses["pcka_s16"](student[1], teacher[1]))
    connected = d.losses["mimic_s32"].connector(student[2])
    torch.testing.assert_close(results["loss_mimic_s32"], torch.nn.functional.mse_loss(connected, teacher[2]))


@MODELS.register_module()
class OtherPCKALoss(PCKALoss):
    """A user's loss, for the tests."""


@pytest.mark.parametrize("second", [PCKA, dict(PCKA, type="pcka_mmdet.OtherPCKALoss")], ids=lambda loss: loss["type"])
def test_two_losses_with_one_metric_log_both(second):
    d = distiller(dict(pcka=dict(PCKA, strides=(8,)), again=dict(second, strides=(8,), average="batch")))
    results = compare(d, maps(), maps(seed=1))
    similarities = [d.losses[key].similarity for key in ("pcka_s8", "again_s8")]
    names = ["similarity.pcka_s8", "similarity.pcka", "similarity.pcka_again_s8", "similarity.pcka_again"]
    assert [results[name] for name in names] == [similarities[0]] * 2 + [similarities[1]] * 2
    assert similarities[0] != similarities[1]


def test_levels_meet_by_stride():
    """A P2-P5 student and a P3-P6 teacher: the student's second level meets the teacher's first."""
    d = distiller(dict(pcka=PCKA), student=retinanet(start_level=0))
    assert list(d.losses) == ["pcka_s8", "pcka_s16", "pcka_s32"]
    student, teacher = maps((32, 16, 8, 4)), maps((16, 8, 4, 2), seed=1)
    results = compare(d, student, teacher)
    torch.testing.assert_close(results["loss_pcka_s8"], d.losses["pcka_s8"](student[1], teacher[0]))


@pytest.mark.parametrize("average, connects", [("channel", True), ("spatial", False), ("batch", False)])
def test_unequal_channels_get_a_connector_where_the_loss_needs_one(average, connects):
    d = distiller(dict(pcka=dict(PCKA, average=average)), teacher=retinanet(channels=24))
    assert bool(connectors(d)) == connects
    results = compare(d, maps(), maps(channels=24, seed=1))
    assert results["loss_pcka_s8"] > 0
    if connects:
        assert connectors(d)["pcka_s8"].weight.shape == (24, 16, 1, 1)


def test_any_loss_of_two_maps():
    d = distiller(dict(pkd=dict(type="mmrazor.PKDLoss", loss_weight=6.0)), teacher=retinanet(channels=24))
    student, teacher = maps(), maps(channels=24, seed=1)
    results = compare(d, student, teacher)
    expected = d.losses["pkd_s8"].loss(connectors(d)["pkd_s8"](student[0]), teacher[0])
    torch.testing.assert_close(results["loss_pkd_s8"], expected)


@pytest.mark.parametrize("why", ["no teacher maps", "level weight 0", "loss weight 0", "degenerate"])
def test_what_is_inactive_is_an_exact_zero_on_its_connector(why):
    losses = dict(pcka=dict(PCKA, strides=(8, 16)))
    if why == "level weight 0":
        losses["pcka"]["level_weight"] = {8: 0}
    if why == "loss weight 0":
        losses["pcka"]["loss_weight"] = 0
    d = distiller(losses, teacher=retinanet(channels=24))
    student = [m.requires_grad_() for m in maps()]
    if why == "degenerate":
        student[0] = torch.randn(2, 16, 2, 2, requires_grad=True)
    teacher = None if why == "no teacher maps" else maps(channels=24, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = compare(d, student, teacher)
    assert [key for key in results if "loss" in key] == ["loss_pcka_s8", "loss_pcka_s16"]
    assert results["loss_pcka_s8"] == 0
    sum(results[key] for key in ("loss_pcka_s8", "loss_pcka_s16")).backward()
    for parameter in connectors(d)["pcka_s8"].parameters():
        assert parameter.grad is not None and (parameter.grad == 0).all()
    assert student[0].grad is None or (student[0].grad == 0).all()
    assert d.needs(0) == (why != "loss weight 0")


def test_a_degenerate_level_warns_once_and_says_what_to_write(warned):
    d = distiller(dict(pcka=dict(PCKA, patch_size=4)))
    for _ in range(2):
        compare(d, maps(), maps(seed=1))
    assert len(warned) == 2
    assert "loss 'pcka': at stride 32 a map of 4x4 has 1 patch of side 4" in warned[0]
    assert "needs 3: use a smaller patch_size. It is 0 there" in warned[0]


@pytest.mark.parametrize("side, patches", [(1, "2 patches"), (16, "1 patch")])
def test_a_map_that_is_too_small_for_any_patches(side, patches):
    with pytest.raises(
        ValueError, match=f"1x2 has {patches} of side {side}, .*: leave the level out \\(strides=...\\), or use larger"
    ):
        PCKALoss(patch_size=side)(*(torch.randn(2, 4, 1, 2) for _ in range(2)))


def test_a_loss_without_a_type():
    with pytest.raises(
        ValueError, match="losses.pckaa has no type, only {'loss_weight': 2}: did you mean losses.pcka?"
    ):
        distiller(dict(pcka=PCKA, pckaa=dict(loss_weight=2)))
    advice = r"write losses.other=dict\(type=...\), or an option of losses.pcka"
    with pytest.raises(ValueError, match=f"losses.other has no type, only {{}}: {advice}"):
        distiller(dict(pcka=PCKA, other={}))


def test_patches_larger_than_every_map():
    d = distiller(dict(pcka=dict(PCKA, patch_size=64)))
    with pytest.raises(
        ValueError, match="no level is left for loss 'pcka': at stride 8 a map of 16x16 has 1 .*smaller"
    ):
        compare(d, maps(), maps(seed=1))
    paused = compare(d, maps(), None)  # small images do no harm where nothing is compared
    assert len(paused) == 4 and not any(paused.values())


def test_a_batch_of_small_images_between_others_does_no_harm(warned):
    d = distiller(dict(pcka=dict(PCKA, patch_size=8)))
    assert compare(d, maps(), maps(seed=1))["loss_pcka_s8"] > 0
    sizes = (8, 4, 2, 1)
    small = compare(d, maps(sizes), maps(sizes, seed=1))
    assert len(small) == 4 and not any(small.values())
    assert "at stride 8 a map of 8x8 has 1 patch of side 8" in warned[-1]


def test_a_batch_of_small_images_after_a_resume_does_no_harm(warned):
    d = distiller(dict(pcka=dict(PCKA, patch_size=8)))
    MessageHub.get_current_instance().update_info("iter", 500)
    sizes = (8, 4, 2, 1)
    assert not any(compare(d, maps(sizes), maps(sizes, seed=1)).values())
    assert "at stride 8 a map of 8x8 has 1 patch of side 8" in warned[0]


def test_of_several_processes_none_stops_alone_for_want_of_a_level(monkeypatch, warned):
    monkeypatch.setattr(fpn_distiller, "get_world_size", lambda: 2)
    d = distiller(dict(pcka=dict(PCKA, patch_size=64)))
    assert not any(compare(d, maps(), maps(seed=1)).values())
    assert "at stride 8 a map of 16x16 has 1 patch of side 64" in warned[0]


def test_a_loss_that_never_had_a_level_stops_beside_one_that_has():
    d = distiller(dict(mimic=MIMIC, pcka=dict(PCKA, patch_size=64)))
    for _ in range(2):
        with pytest.raises(ValueError, match="no level is left for loss 'pcka'"):
            compare(d, maps(), maps(seed=1))


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_nan_in_a_map_is_named(side):
    d = distiller(dict(pcka=PCKA, mimic=MIMIC))
    both = dict(student=[*maps()], teacher=[*maps(seed=1)])
    both[side][1][0, 0, 0, 0] = float("nan")
    advice = dict(student="Lower the learning rate", teacher="Evaluate the teacher")[side]
    message = "these losses are not finite: loss_pcka_s16, loss_mimic_s16. NaN .* in: "
    message += f"the {side}'s map at stride 16. {advice}"
    assert re.match(message, explained(d, both["student"], both["teacher"]))
    assert explained(d, maps(), maps(seed=1)) is None


def test_nan_in_a_second_teachers_map_is_its_own():
    d = FPNDistiller(dict(mimic=dict(MIMIC, strides=(8,))))
    d.prepare(build(retinanet()), [build(retinanet()), build(retinanet())])
    bad = [m.clone() for m in maps(seed=1)]
    bad[0][0, 0, 0, 0] = float("nan")
    message = explained(d, maps(), maps(seed=1), bad)
    assert "are in: teachers[1]'s map at stride 8. Evaluate the teacher" in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_maps_under_autocast_are_compared_in_float32(dtype):
    d = distiller(dict(pcka=PCKA, mimic=MIMIC))
    student, teacher = [m.to(dtype) for m in maps()], [m.to(dtype) for m in maps(seed=1)]
    expected = compare(d, [m.float() for m in student], [m.float() for m in teacher])
    with torch.autocast("cpu", torch.bfloat16):
        results = compare(d, student, teacher)
    for key, value in results.items():
        assert value.dtype == torch.float32 and torch.equal(value, expected[key]), key


@pytest.mark.parametrize(
    "one", [dict(losses=dict(pcka=PCKA), strides=8), dict(losses=dict(pcka=dict(PCKA, strides=8)))]
)
def test_a_single_stride(one):
    assert list(distiller(**one).losses) == ["pcka_s8"]


def test_a_loss_that_is_left_out():
    """From the command line: `model.distiller.losses.mimic=None`."""
    assert list(distiller(dict(pcka=PCKA, mimic=None)).terms) == ["pcka"]
    with pytest.raises(ValueError, match="FPNDistiller needs a loss"):
        FPNDistiller(dict(mimic=None))


@pytest.mark.parametrize(
    "strides, of_loss, expected",
    [("auto", "finest", [8, 16]), ("finest", "auto", [8, 16]), ((16, 32), "finest", [16, 32]), ((16,), "finest", [16])],
)
def test_the_finest_two_levels(strides, of_loss, expected):
    found = distiller(dict(pcka=dict(PCKA, patch_size=1, strides=of_loss)), strides=strides)
    assert list(found.losses) == [f"pcka_s{stride}" for stride in expected]


@pytest.mark.parametrize("strides", [[], "s8", 8.0, [8, 8]])
def test_strides_of_another_kind(strides):
    known = r"'auto', 'finest' \(two levels\), or a list of different strides such as \[8, 16\]; got "
    with pytest.raises(ValueError, match=rf"^strides is {known}"):
        FPNDistiller(dict(pcka=PCKA), strides)
    with pytest.raises(ValueError, match=rf"^losses.pcka.strides is {known}"):
        distiller(dict(pcka=dict(PCKA, strides=strides)))


def test_options_that_name_something_unknown():
    with pytest.raises(ValueError, match=r"losses.pcka.strides: no level at stride \[4\]; there are \[8, 16, 32, 64\]"):
        distiller(dict(pcka=dict(PCKA, strides=(4, 8))))
    with pytest.raises(ValueError, match=r"losses.pcka.level_weight: no level at stride \[128\]"):
        distiller(dict(pcka=dict(PCKA, level_weight={128: 2})))
    with pytest.raises(ValueError, match=r"losses.pcka.patch_size names strides \[8\] but not 16: add it"):
        distiller(dict(pcka=dict(PCKA, patch_size={8: 2})))
    with pytest.raises(ValueError, match="losses.head.source: this loss has one source: leave it out, got 'neck'"):
        distiller(dict(head=dict(type="pcka_mmdet.HeadLoss", source="neck")))
    with pytest.raises(ValueError, match="losses.head.loss_weight: this loss reads all its levels at once: give one"):
        distiller(dict(head=dict(type="pcka_mmdet.HeadLoss", loss_weight={8: 1.0})))
    with pytest.raises(ValueError, match="FPNDistiller needs a loss, such as"):
        FPNDistiller({})
    with pytest.raises(ValueError, match="pcka_mmdet.PCKALos is no registered loss: did you mean 'pcka_mmdet.PCKALoss"):
        distiller(dict(pcka=dict(type="pcka_mmdet.PCKALos")))
    with pytest.raises(ValueError, match="PKDLoss is no registered loss: did you mean 'mmrazor.PKDLoss'?"):
        distiller(dict(pcka=dict(type="PKDLoss")))
    with pytest.raises(ValueError, match="mmrazor.PKDLos is no registered loss: check its name"):
        distiller(dict(pcka=dict(type="mmrazor.PKDLos")))


def test_the_config_is_left_as_it_is():
    losses = dict(pcka=dict(PCKA, strides=(8,), level_weight={8: 2}))
    before = copy.deepcopy(losses)
    distiller(losses)
    assert losses == before


def test_names_that_would_make_a_similarity_part_of_the_loss():
    with pytest.raises(ValueError, match=r"names of losses are identifiers without 'loss', .*; got \['loss_pcka'\]"):
        distiller(dict(loss_pcka=PCKA))
    with pytest.raises(ValueError, match=r"such as neck_1; got \['pcka.1', 'pcka-2'\]"):
        distiller({"pcka.1": PCKA, "pcka-2": PCKA, "pcka_3": PCKA})


@pytest.mark.parametrize(
    "option, value", [("patch_size", dict(P3=2)), ("level_weight", {8.5: 2}), ("level_weight", 3.0)], ids=str
)
def test_options_that_are_not_by_stride(option, value):
    with pytest.raises(ValueError, match=rf"{option} is .*by stride, such as .*got .*[23]"):
        distiller(dict(pcka={**PCKA, option: value}))
