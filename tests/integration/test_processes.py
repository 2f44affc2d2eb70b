"""Distillation in two processes (gloo): what equals one process with the doubled batch, and what DDP has to stand.

All that runs in two processes does so once, in `work`; the tests look at what it left.
"""

import copy
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import FlexibleRunner, Runner
from torch import Tensor

from pcka_mmdet.engine.extra_data import LabelledAndExtraImages
from pcka_mmdet.engine.hooks.nonfinite_loss import NonFiniteLossHook
from pcka_mmdet.models import RCKALoss
from pcka_mmdet.models.balance import MOMENTUM, GradientBalance
from pcka_mmdet.models.distillers import fpn_distiller
from pcka_mmdet.models.losses.rcka_loss import gathered
from pcka_mmdet.models.sources import UNLABELLED
from tests.detectors import EVERY_KIND, build, distillation, faster_rcnn, fcos, raw_batch, retinanet
from tests.detr import deformable_detr
from tests.programs import SERVER
from tests.runners import RandomScenes, runner, validation

WRAPPER = dict(type="MMDistributedDataParallel", broadcast_buffers=False, device_ids=None)
LOCAL = [0, 1], [2, 3]
"""Images of a batch that each process takes."""


def distilled_fcos(loss: str, task_weight: float) -> dict:
    return distillation(
        architecture=fcos(task_weight),
        teacher=retinanet(channels=24),
        distiller=dict(type="pcka_mmdet.FPNDistiller", losses=dict(maps=dict(type=loss, **OPTIONS.get(loss, {})))),
    )


OPTIONS = {
    "pcka_mmdet.PCKALoss": dict(patch_size=1, strides=(8, 16)),
    "pcka_mmdet.RCKALoss": dict(source="neck", strides=(8, 16), gather=True),
}


def batch(step: int, images: Iterable[int]) -> dict:
    """Some of four random images of a step, with their boxes."""
    generator = torch.Generator().manual_seed(step)
    data = raw_batch(*[(64, 64)] * 4)
    inputs = torch.randint(256, (4, 3, 64, 64), generator=generator, dtype=torch.uint8)
    return dict(inputs=[inputs[i] for i in images], data_samples=[data["data_samples"][i] for i in images])


def weights_after(
    config: dict, batches: Iterable[dict], lr: float, wrap: Callable = lambda model: model, accumulate: int = 1
) -> dict[str, Tensor]:
    """Trainable weights after SGD on these batches."""
    model = build(config)
    model.init_weights()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = OptimWrapper(torch.optim.SGD(parameters.values(), lr=lr), accumulative_counts=accumulate)
    wrapped = wrap(model.train())
    with optimizer.optim_context(wrapped):
        optimizer.initialize_count_status(wrapped, 0, len(batches))
        for data in batches:
            wrapped.train_step(data, optimizer)
    return {name: p.detach().clone() for name, p in parameters.items()}


class UnequalScenes(RandomScenes):
    """Images of 64x64 and 128x128 pixels by turns, so that each of two processes has one size."""

    def __init__(self):
        super().__init__()
        self.items[1::2] = [raw_batch((128, 128)) for _ in self.items[1::2]]


def run(folder: Path, name: str, config: dict | None = None, epochs: int = 2, **options: Any) -> dict[str, Any]:
    """Epochs of MMEngine's Runner: weights, and the logged losses of this process."""
    config = config or distillation(teacher=retinanet(channels=24))
    wrapper = dict(model_wrapper_cfg=WRAPPER)
    return trained(runner(config, folder / name, epochs=epochs, launcher="pytorch", cfg=wrapper, **options))


def trained(run: Runner | FlexibleRunner) -> dict[str, Any]:
    run.train()
    losses = {k: v.data[0] for k, v in run.message_hub.log_scalars.items() if "distill.loss" in k}
    scores = run.message_hub.log_scalars.get("val/score")
    return dict(
        weights=run.model.module.state_dict(),
        losses={k.removeprefix("train/distill.loss_"): v.tolist() for k, v in losses.items()},
        scores=scores and scores.data[0].tolist(),
        wrapped={name for name, _ in run.model.named_modules()},
    )


def unequal(folder: Path) -> dict[str, Any]:
    """The map at stride 32 has one patch in the first process and four in the second."""
    config = distillation(teacher=retinanet(channels=24), balance=BALANCE)
    config["distiller"]["losses"] = dict(pcka=dict(type="pcka_mmdet.PCKALoss", patch_size=2, strides=(8, 32)))
    loader = dict(dataset=UnequalScenes(), batch_size=1, sampler=dict(type="DefaultSampler", shuffle=False))
    return run(folder, "unequal", config, train_dataloader=dict(loader, num_workers=0))


def uneven(folder: Path) -> dict[str, Any]:
    """Five images: batches of two and one in each process."""
    loader = dict(dataset=RandomScenes(5), batch_size=2, sampler=dict(type="DefaultSampler", shuffle=True))
    return run(folder, "uneven", train_dataloader=dict(loader, num_workers=0))


FP16 = dict(type="pcka_mmdet.CpuAmpOptimWrapper", dtype="float16", loss_scale=64, optimizer=dict(type="AdamW", lr=1e-3))


class BadScenes(RandomScenes):
    """Two images for each process and step. In some steps one of the second process is NaN, or these are left out."""

    def __init__(self, bad_steps: Iterable[int], left_out: bool):
        super().__init__(12)
        for step in bad_steps:
            self.items[4 * step + 1]["inputs"] = [torch.full((3, 64, 64), torch.nan)]
        if left_out:
            self.items = [item for i, item in enumerate(self.items) if i // 4 not in bad_steps]


class UnlabelledScenes(RandomScenes):
    """Images without labels, other ones than `RandomScenes`."""

    def __init__(self):
        super().__init__(12)
        self.items = self.items[6:]

    def __getitem__(self, index: int) -> dict:
        item = super().__getitem__(index)
        item["data_samples"].set_metainfo({UNLABELLED: True})
        return item


def partly_labelled(folder: Path) -> dict[str, Any]:
    """Each batch has a labelled image and one without labels."""
    dataset = LabelledAndExtraImages([RandomScenes(), UnlabelledScenes()])
    sampler = dict(type="pcka_mmdet.ExtraImagesSampler", batch_size=2, extra=1)
    loader = dict(dataset=dataset, batch_size=2, sampler=sampler, num_workers=0)
    return run(folder, "partly labelled", losses_of_every_kind(), train_dataloader=loader)


def nonfinite(folder: Path, bad_steps: Iterable[int] = (1,), left_out: bool = False, **options: Any) -> dict[str, Any]:
    """A loss that is not finite in the second process alone."""
    config = distillation(teacher=retinanet(channels=24), balance=BALANCE)
    name = f"nonfinite{len(bad_steps)}{left_out}{len(options)}"
    sampler = dict(type="DefaultSampler", shuffle=False)
    loader = dict(dataset=BadScenes(bad_steps, left_out), batch_size=2, sampler=sampler, num_workers=0)
    options.setdefault("custom_hooks", [dict(type="pcka_mmdet.NonFiniteLossHook", max_skips=1)])
    return run(folder, name, config, epochs=1, train_dataloader=loader, **options)


def nonfinite_for_good(folder: Path) -> dict[str, Any]:
    """What ends the training, and whether this process has something to keep."""
    hook = NonFiniteLossHook(max_skips=1)
    try:
        nonfinite(folder, (1, 2), custom_hooks=[hook])
    except FloatingPointError as error:
        return dict(error=str(error), failed=hook._failed is not None)
    return dict(error="none")


def synchronised_teacher(folder: Path) -> dict[str, Any]:
    teacher = retinanet(channels=24)
    teacher["backbone"]["norm_cfg"] = dict(type="SyncBN")
    return run(folder, "synchronised", distillation(teacher=teacher))


def validated(folder: Path, name: str, **options: Any) -> dict[str, Any]:
    """Validations, the best checkpoint and an average; the statistics of batch norms, each process's own, are fixed."""
    config = distillation(teacher=retinanet(channels=24), balance=BALANCE)
    config["architecture"]["backbone"]["norm_eval"] = True
    checkpoint = dict(type="pcka_mmdet.StudentCheckpointHook", interval=1, save_best="score", rule="greater")
    hooks = dict(checkpoint=checkpoint, logger=dict(type="LoggerHook", interval=1))
    average = [dict(type="EMAHook", momentum=0.1)]
    return run(folder, name, config, default_hooks=hooks, custom_hooks=average, **validation(), **options)


def resumed(folder: Path) -> dict[str, Any]:
    """The same two epochs, with a resume between them."""
    validated(folder, "resumed", epochs=1)
    return validated(folder, "resumed", resume=True)


def strategy(folder: Path) -> dict[str, Any]:
    """MMEngine's FlexibleRunner with DDPStrategy, and our checkpoints."""
    loader = dict(dataset=RandomScenes(), batch_size=2, sampler=dict(type="DefaultSampler", shuffle=True))
    flexible = FlexibleRunner(
        model=distillation(teacher=retinanet(channels=24)),
        work_dir=str(folder / "strategy"),
        strategy=dict(type="DDPStrategy", model_wrapper=WRAPPER),
        train_dataloader=dict(loader, num_workers=0),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        default_hooks=dict(checkpoint=dict(type="pcka_mmdet.StudentCheckpointHook")),
        default_scope="mmdet",
        randomness=dict(seed=0),
        launcher="pytorch",
        cfg=dict(model=distillation()),
        experiment_name="strategy",
    )
    return dict(trained(flexible), files={path.name for path in (folder / "strategy").glob("*.pth")})


def detached_zeros(folder: Path) -> str:
    """What DDP says when inactive losses do not depend on their connectors."""
    with mock.patch.object(fpn_distiller, "zero_of", lambda parameters, like: like.new_zeros(())):
        try:
            run(folder, "detached", custom_hooks=[EVERY_SECOND])
        except RuntimeError as error:
            return str(error)
    return "no error"


def losses_of_every_kind() -> dict:
    """Also those with parameters of their own."""
    config = distillation(teacher=retinanet(channels=24), balance=dict(ratio=dict(mimic=1.0, head=0.5)))
    config["distiller"]["losses"].update(copy.deepcopy(EVERY_KIND))
    return config


def gathered_rows(rank: int) -> tuple[Tensor, Tensor]:
    """One row of the first process and two of the second, and the gradient of their weighted sum for the own rows."""
    rows = torch.full((rank + 1, 2), 1.0 + rank, requires_grad=True)
    everything = gathered(rows)
    (everything * torch.arange(6.0).reshape(3, 2)).sum().backward()
    return everything.detach(), rows.grad


def of_two_sizes(rank: int) -> tuple[Tensor, Tensor]:
    """Maps of both sides in a process: of upright images in the first, of wide ones in the second."""
    generator = torch.Generator().manual_seed(rank)
    height, width = [(4, 6), (6, 4)][rank]
    return tuple(torch.randn(2, channels, height, width, generator=generator) for channels in (3, 5))


def gathered_maps_of_two_sizes(rank: int) -> tuple[str, Tensor]:
    """What every process says, where their images are padded to different sizes; and RCKA on a grid."""
    with pytest.raises(ValueError) as raised:
        RCKALoss(gather=True)(*of_two_sizes(rank))
    return str(raised.value), RCKALoss(gather=True, grid=2)(*of_two_sizes(rank))


def some_logits(rank: int) -> tuple[Tensor, Tensor]:
    """Logits of five classes of both sides in a process: three samples in the first, four in the second."""
    generator = torch.Generator().manual_seed(rank)
    return tuple(torch.randn(3 + rank, 5, generator=generator, dtype=torch.float64) for _ in range(2))


def gathered_logits(rank: int) -> tuple[Tensor, Tensor]:
    """RCKA over samples and classes, and the gradient of the own logits."""
    student, teacher = some_logits(rank)
    value = RCKALoss(class_weight=0.5, gather=True)(student.requires_grad_(), teacher)
    return value.detach(), torch.autograd.grad(value, student)[0]


def gathered_logits_of_one(rank: int) -> tuple[Tensor, Tensor]:
    """The same where the first process has no sample, as without a proposal on an object."""
    student, teacher = (side[:0] if rank == 0 else side for side in some_logits(rank))
    value = RCKALoss(class_weight=0.5, gather=True)(student.requires_grad_(), teacher)
    return value.detach(), torch.autograd.grad(value, student)[0]


def averages(rank: int) -> Tensor:
    """Those of a balance after one step, in which the gradients differ by process."""
    balance = GradientBalance({"all": 1.0})
    (own,), groups = balance.fork([torch.zeros(9, requires_grad=True)])
    (own.sum() * (1 + rank) + groups["all"][0][:4].sum() * (2 + 10 * rank)).backward()
    return balance.averages


def two_teachers() -> dict:
    """One after another, so that the connectors of one of them have no gradient."""
    config = distillation(balance=BALANCE)
    config["teachers"] = [dict(retinanet(channels=c), ckpt="random", until=u) for c, u in ((24, 0.5), (16, 1.0))]
    del config["teacher"], config["teacher_ckpt"]
    return config


def boxes_of_a_teacher() -> dict:
    """A teacher's boxes for the RPN and the proposals of a student; its maps need connectors."""
    balance = dict(ratio=dict(boxes=1.0))
    config = distillation(architecture=faster_rcnn(), teacher=retinanet(channels=24), balance=balance)
    boxes = dict(type="pcka_mmdet.PredictionLoss")
    losses = dict(boxes=boxes, proposals=dict(boxes, source="roi_head"), mimic=dict(type="pcka_mmdet.MimicLoss"))
    config["distiller"]["losses"] = losses
    return config


def queries_of_a_teacher(folder: Path) -> dict:
    """A wider DETR's queries and general ones, its memory, and its boxes for the student's queries."""
    teacher, file = deformable_detr(channels=24), folder / f"teacher{os.environ['RANK']}.pth"
    torch.save(build(teacher).state_dict(), file)
    sides = dict(architecture=deformable_detr(), teacher=teacher, teacher_ckpt=str(file))
    config = distillation(**sides, balance=dict(ratio=1.0))
    config["distiller"]["losses"] = dict(
        queries=dict(type="pcka_mmdet.QueryLoss", general=2),
        memory=dict(type="pcka_mmdet.MimicLoss", source="memory", by_scores=True),
        boxes=dict(type="pcka_mmdet.PredictionLoss", source="decoder"),
    )
    return config


BALANCE = dict(ratio=0.5)
EVERY_SECOND = dict(type="pcka_mmdet.LossScheduleHook", every=2)
SCENARIOS = {
    "every": lambda folder: run(folder, "every", losses_of_every_kind(), custom_hooks=[EVERY_SECOND]),
    "ramp": lambda folder: run(folder, "ramp", custom_hooks=[dict(type="pcka_mmdet.LossScheduleHook", ramp=3)]),
    "stop": lambda folder: run(folder, "stop", custom_hooks=[dict(type="mmrazor.StopDistillHook", stop_epoch=1)]),
    "teachers": lambda folder: run(folder, "teachers", two_teachers()),
    "boxes": lambda folder: run(folder, "boxes", boxes_of_a_teacher()),
    "queries": lambda folder: run(folder, "queries", queries_of_a_teacher(folder)),
    "unequal": unequal,
    "uneven": uneven,
    "partly labelled": partly_labelled,
    "synchronised teacher": synchronised_teacher,
    "strategy": strategy,
    "validated": lambda folder: validated(folder, "validated"),
    "resumed": resumed,
    "skipped": nonfinite,
    "skipped fp16": lambda folder: nonfinite(folder, optim_wrapper=FP16),
    "left out": lambda folder: nonfinite(folder, left_out=True),
    "left out fp16": lambda folder: nonfinite(folder, left_out=True, optim_wrapper=FP16),
    "nonfinite for good": nonfinite_for_good,
    "detached": detached_zeros,
}


def work(rank: int, folder: Path) -> None:
    """All that is asked of one of the two processes."""
    from mmrazor.engine import StopDistillHook  # noqa: F401  (registers it)

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)

    def wrap(model):
        return MMDistributedDataParallel(model, broadcast_buffers=False)

    results = {
        "mimic": weights_after(
            distilled_fcos("pcka_mmdet.MimicLoss", 1.0), [batch(s, LOCAL[rank]) for s in range(20)], 0.01, wrap
        ),
        "pcka": weights_after(distilled_fcos("pcka_mmdet.PCKALoss", 0.0), [batch(0, LOCAL[rank])], 1.0, wrap),
        "rcka": weights_after(distilled_fcos("pcka_mmdet.RCKALoss", 0.0), [batch(0, LOCAL[rank])], 1.0, wrap),
        "gathered": gathered_rows(rank),
        "gathered logits": gathered_logits(rank),
        "gathered logits of one": gathered_logits_of_one(rank),
        "gathered, of two sizes": gathered_maps_of_two_sizes(rank),
        "averages": averages(rank),
        **{name: scenario(folder) for name, scenario in SCENARIOS.items()},
    }
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The work directories of the two processes, by scenario."""
    folder = tmp_path_factory.mktemp("processes")
    mp.start_processes(work, (folder,), nprocs=2, start_method=SERVER.get_start_method())
    return folder


@pytest.fixture(scope="module")
def results(folder) -> list[dict[str, Any]]:
    """What each of the two processes returned."""
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def differences(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference of two sets of weights."""
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_mimic_equals_one_process_with_the_doubled_batch(results):
    """Detection losses included: 20 steps of an FCOS student."""
    config = distilled_fcos("pcka_mmdet.MimicLoss", 1.0)
    start = weights_after(config, [], 0.01)
    one = weights_after(config, [batch(step, range(4)) for step in range(20)], 0.01)
    assert differences(one, start) > 0.01
    assert differences(results[0]["mimic"], one) < 1e-5
    assert differences(results[0]["mimic"], results[1]["mimic"]) == 0


def test_pcka_of_two_processes_is_the_mean_of_their_gradients(results):
    """So is that of two accumulated batches; one batch of all images is another number: they share Gram matrices."""
    config = distilled_fcos("pcka_mmdet.PCKALoss", 0.0)
    start = weights_after(config, [], 1.0)
    halves = [weights_after(config, [batch(0, images)], 1.0) for images in LOCAL]
    mean = {name: (halves[0][name] + halves[1][name]) / 2 for name in start}
    accumulated = weights_after(config, [batch(0, images) for images in LOCAL], 1.0, accumulate=2)
    whole = weights_after(config, [batch(0, range(4))], 1.0)
    scale = differences(mean, start)
    for two in (results[0]["pcka"], accumulated):
        assert differences(two, mean) < 1e-5 * scale
    assert differences(whole, mean) > 0.01 * scale


def test_rcka_of_gathered_samples_equals_one_process_with_the_whole_batch(results):
    config = distilled_fcos("pcka_mmdet.RCKALoss", 0.0)
    start = weights_after(config, [], 1.0)
    whole = weights_after(config, [batch(0, range(4))], 1.0)
    assert differences(whole, start) > 0
    for result in results:
        assert differences(result["rcka"], whole) < 1e-5 * differences(whole, start)


def test_rows_of_all_processes_are_gathered(results):
    """In the order of ranks; the own gradient is doubled, because DDP halves it."""
    rows = [
        (torch.tensor([[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]), gradient) for gradient in ([[0.0, 2]], [[4.0, 6], [8, 10]])
    ]
    for (found, gradient), (expected, own) in zip([r["gathered"] for r in results], rows, strict=True):
        assert torch.equal(found, expected) and torch.equal(gradient, torch.tensor(own))


def test_rcka_of_gathered_logits_over_samples_and_classes(results):
    student, teacher = (torch.cat(sides) for sides in zip(some_logits(0), some_logits(1), strict=True))
    whole = RCKALoss(class_weight=0.5)(student.requires_grad_(), teacher)
    gradients = (2 * torch.autograd.grad(whole, student)[0]).split([3, 4])  # doubled, because DDP halves it
    for result, gradient in zip(results, gradients, strict=True):
        torch.testing.assert_close(result["gathered logits"], (whole.detach(), gradient))


def test_rcka_of_gathered_logits_where_one_process_has_none(results):
    student, teacher = some_logits(1)
    whole = RCKALoss(class_weight=0.5)(student.requires_grad_(), teacher)
    gradient = 2 * torch.autograd.grad(whole, student)[0]
    for result, expected in zip(results, (gradient[:0], gradient), strict=True):
        torch.testing.assert_close(result["gathered logits of one"], (whole.detach(), expected))


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - {"detached", "nonfinite for good"}))
def test_ddp_needs_no_search_for_unused_parameters(results, name):
    """Both processes end with the same finite weights, and the teacher is not wrapped."""
    first, second = (result[name] for result in results)
    assert all(torch.isfinite(value).all() for value in first["weights"].values())
    trained = {k: v for k, v in first["weights"].items() if "running_" not in k}  # of batch norms: each its own
    assert any(".connector." in key for key in trained)
    assert differences(trained, second["weights"]) == 0
    assert not [module for module in first["wrapped"] if "teacher" in module]


def test_a_flexible_runner_writes_students_too(results):
    assert {"epoch_2.pth", "student_epoch_2.pth"} <= results[0]["strategy"]["files"]


def test_a_resumed_training_ends_as_the_one_that_was_not_interrupted(results, folder):
    """Bit for bit, as nothing random is drawn: validations, weights, averages, and the student of the best of them."""
    for result in results:
        assert len(set(result["validated"]["scores"])) == 2
        assert result["resumed"]["scores"] == result["validated"]["scores"]
        assert differences(result["resumed"]["weights"], result["validated"]["weights"]) == 0
    scores = results[0]["validated"]["scores"]
    best = f"best_score_epoch_{scores.index(max(scores)) + 1}"
    plain = {"epoch_1.pth", "epoch_2.pth", f"{best}.pth"}
    for name in ("validated", "resumed"):
        assert {path.name for path in (folder / name).glob("*.pth")} == plain | {f"student_{file}" for file in plain}
    for file in (f"student_{best}.pth", "epoch_2.pth"):
        one, other = (torch.load(folder / name / file, weights_only=True) for name in ("validated", "resumed"))
        for part in {"state_dict", "ema_state_dict"} & one.keys():
            assert differences(one[part], other[part]) == 0, (file, part)


@pytest.mark.parametrize("name", ["every", "unequal", "validated", "resumed", "skipped fp16"])
def test_the_balance_averages_norms_over_processes(results, name):
    first, second = (
        torch.stack([value for key, value in result[name]["weights"].items() if ".balances.neck.average_" in key])
        for result in results
    )
    assert torch.equal(first, second) and (first[:, :2] > 0).all()


def test_the_averages_of_a_balance_are_means_over_processes(results):
    """Norms of the task's gradient: 3 and 6; of the distillation's: 4 and 24; their cosine is 2 / 3 in both."""
    expected = (1 - MOMENTUM) * torch.tensor([[4.5, 14.0, 2 / 3, 1.0]])
    for result in results:
        torch.testing.assert_close(result["averages"], expected)


def test_losses_of_inactive_iterations_and_levels(results):
    first, second = results
    for result in results:
        every = result["every"]["losses"]
        assert {key.partition("_")[0] for key in every} >= EVERY_KIND.keys()
        for key, values in every.items():
            assert not any(values[1::2]), key
            # maps without training are alike: 1 - CKA of theirs may be rounded to 0
            assert all(values[::2]) or key.startswith("samples"), key
        assert [value > 0 for value in result["ramp"]["losses"]["mimic_s8"]] == [False, True, True, True]
        assert [value > 0 for value in result["stop"]["losses"]["mimic_s8"]] == [True, True, False, False]
    assert not any(first["unequal"]["losses"]["pcka_s32"]) and all(second["unequal"]["losses"]["pcka_s32"])


@pytest.mark.parametrize("precision", ["", " fp16"])
def test_both_processes_skip_the_step_of_which_one_has_a_loss_that_is_not_finite(results, precision):
    """All ends as without the step, batch norm statistics of each process included."""
    for result in results:
        skipped, expected = result[f"skipped{precision}"], result[f"left out{precision}"]
        assert len(expected["losses"]["mimic_s8"]) == 2
        assert all(torch.equal(value, expected["weights"][key]) for key, value in skipped["weights"].items())
    logged = [len(result[f"skipped{precision}"]["losses"]["mimic_s8"]) for result in results]
    assert sorted(logged) == [2, 3]  # of three steps, one process leaves out a loss that is not finite


def test_both_processes_stop_and_say_in_which_the_loss_is_not_finite(results):
    for result in results:
        assert result["nonfinite for good"]["error"].startswith(
            "process 1: these losses are not finite: loss_pcka_s8, "
        )
        assert "It happened in 2 steps in a row; at most 1 are skipped" in result["nonfinite for good"]["error"]
    assert [result["nonfinite for good"]["failed"] for result in results] == [False, True]


def test_maps_of_two_sizes_are_refused_by_both_processes_or_averaged_to_a_grid(results):
    message = "gather=True: the samples of the processes have the shapes [[3, 4, 6], [3, 6, 4]], since their images are"
    cells = [F.adaptive_avg_pool2d(maps, 2) for rank in range(2) for maps in of_two_sizes(rank)]
    expected = RCKALoss()(torch.cat(cells[::2]), torch.cat(cells[1::2]))
    for said, value in (result["gathered, of two sizes"] for result in results):
        assert said.startswith(message) and "use grid=8" in said
        torch.testing.assert_close(value, expected)


def test_zeros_that_depend_on_no_connector_would_fail(results):
    """The tests above can fail."""
    assert all("Expected to have finished reduction" in result["detached"] for result in results)
